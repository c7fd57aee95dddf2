// The page: which view the address bar names, the head and foot around it, and what is said when the sidecar
// does not answer.

import * as asset from "./asset.js";
import { h, patch } from "./dom.js";
import * as findings from "./findings.js";
import { ago, clock } from "./format.js";
import * as gallery from "./gallery.js";
import * as job from "./job.js";
import { Live } from "./live.js";
import * as overview from "./overview.js";
import { forgetTyping, sign } from "./parts.js";
import { parse, sameView } from "./route.js";
import { statusWords } from "./words.js";

const VIEWS = { overview, findings, job, images: gallery, frames: gallery, asset, unknown: unknownView() };
const NAME = "artifact-sidecar";

let route = parse(window.location.hash);
const live = new Live(
  render,
  () => VIEWS[route.view].wanted(context()),
  (address) => VIEWS[route.view].slow?.(address) ?? false,
  () => VIEWS[route.view].agree?.(context()) ?? true,
);

function context() {
  return {
    route,
    answer: (address) => live.answer(address),
    data: (address) => live.answer(address)?.data ?? null,
    down: live.down,
  };
}

function unknownView() {
  return {
    title: () => "Not found",
    wanted: () => ["healthz"],
    render: () => [
      h("h1", { tabindex: -1 }, "There is nothing here"),
      h("p", null, "Start again from the ", h("a", { href: "#/" }, "overview"), "."),
    ],
  };
}

function render() {
  const view = VIEWS[route.view];
  view.observe?.(context());
  replace("top", header());
  replace("alerts", alerts());
  replace("main", view.render(context()));
  replace("bottom", footer());
  document.body.classList.toggle("old", live.down);
  document.title = `${live.down ? "⚠ " : ""}${view.title(route)} · ${NAME}`;
}

/** Bring the children of an element that stays into line. */
function replace(id, children) {
  const element = document.getElementById(id);
  const next = element.cloneNode(false);
  next.append(
    ...[children].flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  patch(element, next);
}

function header() {
  const tab = (href, text, here) => h("a", { href, "aria-current": here ? "page" : null }, text);
  return [
    h(
      "a",
      { class: "brand", href: "#/" },
      h("img", { src: "dashboard/icon.svg", alt: "", width: 24, height: 24 }),
      NAME,
    ),
    h(
      "nav",
      { "aria-label": "Main" },
      tab("#/", "Overview", route.view === "overview"),
      tab("#/findings", "Findings", route.view === "findings"),
    ),
    pill(),
  ];
}

/** How the sidecar is in a word or two, leading to where more is said of it. */
function pill() {
  const [severity, text] = mood();
  return h(
    "p",
    { class: `pill ${severity}`, role: "status" },
    h("a", { href: "#/", title: "How the sidecar is" }, sign(severity), h("span", null, text)),
  );
}

function mood() {
  const about = live.answer("healthz")?.data;
  if (live.down) {
    return ["bad", "no answer"];
  }
  if (!about) {
    return ["note", "connecting"];
  }
  const [severity] = statusWords(about);
  return [
    severity,
    { good: "up to date", note: "starting", warn: "needs a look", bad: "degraded" }[severity],
  ];
}

function alerts() {
  if (live.down) {
    const since = live.lastHeard ?? live.downSince;
    const old =
      live.lastHeard === null ? "" : ` The figures below are from then, ${ago(since)}: they are old.`;
    return h(
      "div",
      { class: "alert bad" },
      sign("bad"),
      h(
        "p",
        null,
        h("b", null, `The sidecar has not answered since ${clock(since)}.`),
        old,
        " It is asked again by itself.",
      ),
      h("button", { type: "button", on: { click: () => live.wake() } }, "Ask now"),
    );
  }
  const { trouble } = live;
  if (trouble !== null && live.indexState !== "scanning") {
    return h(
      "div",
      { class: "alert warn" },
      sign("warn"),
      h(
        "p",
        null,
        h("b", null, `Some figures below are ${trouble.known ? "old" : "missing"}, since ${clock(trouble.since)}. `),
        trouble.detail,
      ),
    );
  }
  if (live.indexState === "scanning") {
    return h(
      "div",
      { class: "alert note" },
      sign("note"),
      h("p", null, "The first look at all files is still under way: lists and counts are not complete yet."),
    );
  }
  return null;
}

function footer() {
  const about = live.answer("healthz")?.data;
  return [
    h("span", null, about ? `${NAME} ${about.version}` : NAME),
    h("a", { href: "docs" }, "API"),
    h("a", { href: "healthz" }, "Health"),
    h("a", { href: "metrics" }, "Metrics"),
  ];
}

function navigate(event) {
  const before = route;
  route = parse(window.location.hash);
  if (event.isTrusted) {
    forgetTyping(route); // not so where a filter itself has changed the address
  }
  const other = !sameView(before, route);
  const turned = before.params.page !== route.params.page;
  render();
  if (other) {
    window.scrollTo(0, 0);
    document.querySelector("main h1")?.focus({ preventScroll: true });
  } else if (turned) {
    const list = document.querySelector("#findings, #gallery, #jobs");
    list?.focus({ preventScroll: true });
    list?.scrollIntoView({ block: "start" });
  }
  live.wake();
}

window.addEventListener("hashchange", navigate);
window.addEventListener("redraw", render);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the address of a view
  document.getElementById("main").focus();
});
document.addEventListener("keydown", (event) => {
  const field = document.querySelector("main input[type=search]");
  if (event.key === "/" && field && !event.target.closest("input, select, textarea")) {
    event.preventDefault();
    field.focus();
  }
});
render();
live.wake();
