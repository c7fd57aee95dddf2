// All jobs, how the sidecar is, and what it found.

import { h } from "./dom.js";
import { count, counted } from "./format.js";
import { JOBS, jobs } from "./joblist.js";
import { kindBadge, missing, sign } from "./parts.js";
import { link } from "./route.js";
import { KINDS, advice, agreement, statusWords } from "./words.js";
import { state } from "./state.js";

const sum = (features) => Object.values(features).reduce((total, number) => total + number, 0);

export const title = () => "Overview";

export const wanted = ({ route }) => ["healthz", JOBS(route)];

let latest = null;

/** The findings of everything; those of the page before while another page of jobs is on its way. */
export function observe({ route, data }) {
  latest = data(JOBS(route))?.verification ?? latest;
}

export function render(view) {
  return [
    h("h1", { tabindex: -1 }, "Overview"),
    health(view),
    h("div", { class: "columns" }, jobs(view), findings(view), state(view)),
  ];
}

// --- how it is -------------------------------------------------------------------------------------

function health({ data, down }) {
  const about = data("healthz");
  if (!about || down) {
    return null;
  }
  const [severity, sentence, more] = statusWords(about);
  const total = latest?.total ?? 0;
  const waiting = about.pending.paths + about.pending.validations;
  return h(
    "section",
    { class: `health ${severity}`, "aria-label": "State of the sidecar" },
    sign(severity),
    h(
      "div",
      null,
      h("p", { class: "lead" }, sentence),
      more ? h("p", null, more) : null,
      about.problems.length > 0 ? h("ul", { class: "problems" }, about.problems.map(problem)) : null,
      waiting > 0 ? h("p", { class: "muted" }, pendingWords(about.pending)) : null,
      total > 0 ? h("p", null, h("a", { href: "#/findings" }, `See ${counted(total, "finding")}`)) : null,
    ),
  );
}

function problem(line) {
  const todo = advice(line);
  return h("li", null, line, todo ? h("span", { class: "todo" }, ` ${todo}`) : null);
}

function pendingWords({ paths, validations }) {
  const parts = [
    paths > 0 ? `${counted(paths, "path is", "paths are")} looked at again` : null,
    validations > 0 ? `${counted(validations, "content is", "contents are")} checked, or checked once more` : null,
  ];
  return `Just now ${parts.filter(Boolean).join(", and ")}.`;
}

// --- findings --------------------------------------------------------------------------------------

function findings({ route, data, answer }) {
  const found = latest;
  return h(
    "section",
    { class: "card", "aria-labelledby": "kinds" },
    h(
      "h2",
      { id: "kinds" },
      "Findings",
      found ? h("span", { class: "total" }, ` ${count(found.total)}`) : null,
    ),
    found ? kindList(found, data("healthz")) : missing(answer(JOBS(route)), "findings"),
    found?.withheld > 0
      ? h("p", { class: "muted" }, `${count(found.withheld)} more are withheld; the problems above say why.`)
      : null,
    found ? checks(found) : null,
  );
}

function kindList(found, about) {
  const all = Object.entries(found.findings);
  if (all.length === 0) {
    const [severity, sentence] = agreement(about, found);
    return h("p", { class: "empty" }, sign(severity), ` ${sentence}`);
  }
  return h(
    "ul",
    { class: "kinds" },
    all.map(([kind, features]) =>
      h(
        "li",
        { "data-key": kind },
        h("a", { href: link(["findings"], { kind }) }, kindBadge(kind), h("b", null, count(sum(features)))),
        h("p", null, KINDS[kind]?.[1]),
        h("p", { class: "muted" }, KINDS[kind]?.[2]),
      ),
    ),
  );
}

function checks(found) {
  const [checked, pending, unchecked] = [found.checked, found.pending, found.unchecked].map(sum);
  if (checked + pending + unchecked === 0) {
    return null;
  }
  return h(
    "p",
    { class: "muted line" },
    `${counted(checked, "file's content was", "files' contents were")} checked`,
    pending > 0 ? `, ${count(pending)} wait` : null,
    unchecked > 0 ? `, ${count(unchecked)} could not be` : null,
    ".",
  );
}
