// What several views are put together from.

import { h, s } from "./dom.js";
import { count, percent } from "./format.js";
import { changed, parse, sameView } from "./route.js";
import { KINDS, NAMES, PHASES, phaseName } from "./words.js";

const SHAPES = {
  good: "M4 8.5l2.7 2.7L12 5.6",
  bad: "M8 4v5M8 11.6v.2",
  warn: "M8 4v5M8 11.6v.2",
  note: "M8 7.2v4.6M8 4.4v.2",
};

/** A round sign for a severity; what it means is always said in words beside it. */
export function sign(severity) {
  const line = { d: SHAPES[severity], fill: "none", "stroke-width": 1.8, "stroke-linecap": "round" };
  return s(
    "svg",
    { class: `sign ${severity}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    s("circle", { cx: 8, cy: 8, r: 8 }),
    s("path", { ...line, "stroke-linejoin": "round" }),
  );
}

/** The kind of a finding as a small label. */
export function kindBadge(kind, number = null) {
  return h(
    "span",
    { class: `badge ${KINDS[kind]?.[0] ?? "note"}`, title: KINDS[kind]?.[1] ?? "" },
    kind,
    number === null ? null : h("b", null, ` ${count(number)}`),
  );
}

/** A bar that says how much is done. */
export function bar(label, done, total, look) {
  const share = total > 0 ? (100 * done) / total : 0;
  const text = `${count(done)} of ${count(total)}`;
  return h(
    "div",
    {
      class: `bar ${look}`,
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.floor(share),
      "aria-valuetext": text,
    },
    h("span", { class: "fill", vars: { "--share": `${share}%` } }),
  );
}

/** The phases of a job, with the one that it is in. */
export function phases(phase) {
  const at = PHASES.indexOf(phase);
  if (at < 0) {
    return h("p", { class: "phase" }, phaseName(phase));
  }
  return h(
    "ol",
    { class: "phases", "aria-label": `Phase: ${phaseName(phase)}` },
    PHASES.map((name, place) =>
      h(
        "li",
        {
          class: place < at ? "past" : place === at ? "now" : "ahead",
          "aria-current": place === at ? "step" : null,
        },
        h("span", null, phaseName(name)),
      ),
    ),
  );
}

/** Why an answer is not there, in place of what it would have shown. */
export function missing(answer, what) {
  if (answer?.problem) {
    return h("p", { class: "empty" }, sign("warn"), ` ${answer.problem.detail ?? answer.problem.title}`);
  }
  return h("p", { class: "empty loading" }, `Loading ${what}…`);
}

/** Links to the pages of a list: which one is shown and how many there are follows from its answer. */
export function pager(route, page) {
  const pages = Math.max(1, Math.ceil(page.total / page.limit));
  const now = Math.floor(page.offset / page.limit) + 1;
  if (pages === 1 && now === 1) {
    return null;
  }
  const step = (text, to, rel) =>
    to >= 1 && to <= pages
      ? h("a", { href: changed(route, { page: to > 1 ? to : "" }), rel, class: "button" }, text)
      : h("span", { class: "button off", "aria-hidden": "true" }, text);
  return h(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    step("← Previous", Math.min(now - 1, pages), "prev"),
    h("span", null, `Page ${count(now)} of ${count(pages)}`),
    step("Next →", now + 1, "next"),
  );
}

/** The first item of a page, by the parameter of the address bar. */
export function offsetOf(route, limit) {
  const page = Number.parseInt(route.params.page ?? "1", 10);
  return page > 1 ? (page - 1) * limit : 0;
}

// --- filters ---------------------------------------------------------------------------------------

let typing = null;

function go(hash, replace = false) {
  if (replace) {
    history.replaceState(null, "", hash);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    window.location.hash = hash;
  }
}

/** Elsewhere was gone to: what was typed before is not of that place, even while the field has the focus. */
export function forgetTyping(route) {
  clearTimeout(typing);
  for (const field of document.querySelectorAll("main input[type=search]")) {
    field.value = route.params[field.name] ?? "";
  }
}

/** A text filter; what is typed counts after a moment, or at once with Enter. */
export function textFilter(route, name, label, placeholder, list = null) {
  const apply = (event, replace) => {
    clearTimeout(typing);
    const text = event.target.value.trim();
    const here = sameView(route, parse(window.location.hash)); // a field that goes with its view says so, too
    if (here && text !== (route.params[name] ?? "")) {
      go(changed(route, { [name]: text }), replace);
    }
  };
  return h(
    "div",
    { class: "filter grow" },
    h("label", { for: `filter-${name}` }, label),
    h("input", {
      type: "search",
      id: `filter-${name}`,
      name,
      placeholder,
      list,
      value: route.params[name] ?? "",
      autocomplete: "off",
      spellcheck: "false",
      on: {
        input: (event) => {
          clearTimeout(typing);
          typing = setTimeout(() => apply(event, true), 350);
        },
        change: (event) => apply(event, true),
      },
    }),
  );
}

/** A choice among a few values, `[[value, text], …]`; the first one means all. */
export function choiceFilter(route, name, label, options) {
  const current = route.params[name] ?? "";
  return h(
    "div",
    { class: "filter" },
    h("label", { for: `filter-${name}` }, label),
    h(
      "select",
      {
        id: `filter-${name}`,
        name,
        on: { change: (event) => go(changed(route, { [name]: event.target.value })) },
      },
      options.map(([value, text]) => h("option", { value, selected: value === current }, text)),
    ),
  );
}

/** The form around filters. */
export function filters(label, ...fields) {
  return h(
    "form",
    {
      class: "filters",
      role: "search",
      "aria-label": label,
      on: { submit: (event) => event.preventDefault() },
    },
    fields,
  );
}

export const KIND_OPTIONS = [["", "All kinds"], ...Object.keys(KINDS).map((kind) => [kind, kind])];

/** The features as options, with the image where findings are about it too. */
export function featureOptions(all, ...names) {
  return [["", all], ...names.map((name) => [name, NAMES[name]])];
}

/** Figures with their names below them, from `[[name, text], …]`. */
export function counts(pairs) {
  return h(
    "dl",
    { class: "counts" },
    pairs.map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text))),
  );
}

/** A percentage beside its bar. */
export function share(done, total) {
  return total > 0 ? percent((100 * done) / total) : "–";
}
