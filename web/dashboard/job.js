// One job: how far each artifact is, how fast it goes, and what is wrong.

import { chart } from "./chart.js";
import { h } from "./dom.js";
import { ago, count, duration, figure, percent } from "./format.js";
import { findingList, findingsAddress, listsAll } from "./findings.js";
import { note, rate } from "./history.js";
import { bar, counts, kindBadge, missing, phases, share } from "./parts.js";
import { api, link } from "./route.js";
import { FEATURES, NAMES } from "./words.js";

const overview = (route) => api(["jobs", route.job, "overview"]);
const SETS = [
  ["product_images", "Product images", "images"],
  ["video_frames", "Video frames", "frames"],
];

export const title = ({ job }) => job;

export const wanted = ({ route }) => ["healthz", overview(route), findingsAddress(route)];

/** Whether as many findings are listed as are counted. */
export const agree = (view) => listsAll(view, view.data(overview(view.route))?.verification);

export function render(view) {
  const { route, data, answer } = view;
  const job = data(overview(route));
  if (!job) {
    return [jobHead(route, null), missing(answer(overview(route)), "the job")];
  }
  return [
    jobHead(route, job),
    h("section", { class: "card whole", "aria-label": "Progress" }, ...whole(job, job.verification)),
    h("div", { class: "pair" }, progress(route, job.summary)),
    findingList(view, job.verification, "Findings"),
  ];
}

/** The head of all pages of a job: where one is, and where else one can go. */
export function jobHead(route, job) {
  const tab = (view, text, number, parts) =>
    h(
      "a",
      { href: link(parts), "aria-current": route.view === view ? "page" : null },
      text,
      number === undefined ? null : h("span", { class: "total" }, ` ${count(number)}`),
    );
  return [
    h(
      "nav",
      { class: "crumbs", "aria-label": "Breadcrumb" },
      h("a", { href: "#/" }, "Overview"),
      h("span", { "aria-hidden": "true" }, " / "),
      "Job",
    ),
    h("h1", { tabindex: -1, class: "path" }, route.job),
    h("p", { class: "muted subline" }, job?.updated_at ? `changed ${ago(job.updated_at)}` : "\u00a0"),
    h(
      "nav",
      { class: "tabs", "aria-label": "Job" },
      tab("job", "Progress", undefined, ["jobs", route.job]),
      tab("images", "Images", job?.counts.images, ["jobs", route.job, "images"]),
      tab("frames", "Frames", job?.counts.frames, ["jobs", route.job, "frames"]),
    ),
  ];
}

function whole(job, found) {
  return [
    h("p", { class: "big" }, percent(job.percent)),
    h("div", { class: "grow" }, bar("Progress of the job", job.percent, 100, "whole"), phases(job.phase)),
    counts(Object.entries(job.counts).map(([name, value]) => [name, count(value)])),
    found.total > 0
      ? h(
          "p",
          { class: "badges" },
          Object.entries(found.findings).map(([kind, features]) =>
            h(
              "a",
              { href: link(["jobs", job.job_id], { kind }) },
              kindBadge(
                kind,
                Object.values(features).reduce((a, b) => a + b, 0),
              ),
            ),
          ),
        )
      : null,
  ];
}

function progress(route, done) {
  return SETS.map(([name, text, view]) => set(route, name, text, view, done[name]));
}

function set(route, name, text, view, totals) {
  const key = `${route.job}/${name}`;
  const drawing = chart(key, totals.total, `${text} done over time`);
  return h(
    "section",
    { class: "card", "aria-labelledby": name },
    h(
      "h2",
      { id: name },
      h("a", { href: link(["jobs", route.job, view]) }, text),
      h("span", { class: "total" }, ` ${count(totals.total)}`),
    ),
    totals.total > 0
      ? h(
          "ul",
          { class: "features" },
          FEATURES.map((feature) => featureRow(route, view, key, feature, totals)),
        )
      : h("p", { class: "empty" }, "None on disk yet."),
    totals.total > 0 ? chartFigure(drawing) : null,
  );
}

function chartFigure(drawing) {
  return drawing
    ? h("figure", null, drawing, h("figcaption", { class: "muted" }, "Done over time, since this page was opened"))
    : h("p", { class: "muted waiting" }, "The chart grows while this page is open.");
}

function featureRow(route, view, key, feature, totals) {
  const { done } = totals[feature];
  return h(
    "li",
    { class: feature },
    h("a", { href: link(["jobs", route.job, view], { has: feature }) }, NAMES[feature]),
    h("span", { class: "muted number" }, `${count(done)} of ${count(totals.total)}`),
    h("b", { class: "number" }, share(done, totals.total)),
    bar(`${NAMES[feature]} done`, done, totals.total, feature),
    h("span", { class: "muted rate" }, speed(rate(key, feature), totals.total - done)),
  );
}

/** The rate of the last minutes in words, and how long the rest takes at that. */
function speed(perMinute, left) {
  if (left === 0) {
    return "all done";
  }
  if (perMinute === null) {
    return "measuring the rate…";
  }
  if (Math.abs(perMinute) < 0.05) {
    return "no change in the last minutes";
  }
  const sign = perMinute > 0 ? "+" : "−";
  const rest = perMinute > 0 ? `, about ${duration((left / perMinute) * 60)} left` : "";
  return `${sign}${figure(Math.round(Math.abs(perMinute) * 10) / 10)} a minute${rest}`;
}

/** Remember what is done now, for the rate and the chart. */
export function observe({ route, data, answer }) {
  const done = data(overview(route))?.summary;
  if (!done || answer(overview(route)).failedSince) {
    return;
  }
  for (const [name] of SETS) {
    note(
      `${route.job}/${name}`,
      Object.fromEntries(FEATURES.map((feature) => [feature, done[name][feature].done])),
    );
  }
}
