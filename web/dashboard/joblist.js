// The list of all jobs, each with how far it is and what was found in it.

import { h } from "./dom.js";
import { ago, count, percent } from "./format.js";
import {
  bar,
  choiceFilter,
  counts,
  filters,
  kindBadge,
  missing,
  offsetOf,
  pager,
  phases,
  textFilter,
} from "./parts.js";
import { api, link } from "./route.js";
import { FEATURES, NAMES, PHASES, phaseName } from "./words.js";

const LIMIT = 12;

/** The address of the list, of what each job in it has, and of all findings: an answer of one moment. */
export const JOBS = (route) =>
  api(["overview"], {
    limit: LIMIT,
    offset: offsetOf(route, LIMIT),
    q: route.params.q,
    phase: route.params.phase,
  });

/** The section of jobs, filtered and paged. */
export function jobs({ route, data, answer }) {
  const page = data(JOBS(route));
  const filtered = route.params.q || route.params.phase;
  return h(
    "section",
    { class: "jobs", "aria-labelledby": "jobs" },
    h(
      "h2",
      { id: "jobs", tabindex: -1 },
      "Jobs",
      page ? h("span", { class: "total" }, ` ${count(page.total)}`) : null,
    ),
    page && (page.total > 4 || filtered) ? jobFilters(route) : null,
    page
      ? h(
          "ul",
          { class: "cards" },
          page.items.map(jobCard),
        )
      : missing(answer(JOBS(route)), "jobs"),
    page?.items.length === 0
      ? h("p", { class: "empty" }, filtered ? "No job matches." : "There is no job yet.")
      : null,
    page ? pager(route, page) : null,
  );
}

function jobFilters(route) {
  return filters(
    "Filter jobs",
    textFilter(route, "q", "Search", "Part of a job's id"),
    choiceFilter(route, "phase", "Phase", [
      ["", "All phases"],
      ...PHASES.map((phase) => [phase, phaseName(phase)]),
    ]),
  );
}

function jobCard(job) {
  const { summary: done, verification: found } = job;
  return h(
    "li",
    { class: "card job", "data-key": job.job_id },
    h(
      "div",
      { class: "head" },
      h("h3", null, h("a", { href: link(["jobs", job.job_id]), class: "cover" }, job.job_id)),
      h("p", { class: "big" }, percent(job.percent)),
    ),
    bar(`Progress of ${job.job_id}`, job.percent, 100, "whole"),
    phases(job.phase),
    counts(Object.entries(job.counts).map(([name, value]) => [name, count(value)])),
    h(
      "ul",
      { class: "minis" },
      FEATURES.map((feature) => mini(feature, done)),
    ),
    h(
      "p",
      { class: "foot" },
      h("span", { class: "badges" }, kinds(found)),
      job.updated_at ? h("span", { class: "muted" }, ago(job.updated_at)) : null,
    ),
  );
}

function mini(feature, { product_images: images, video_frames: frames }) {
  const done = images[feature].done + frames[feature].done;
  const total = images.total + frames.total;
  return h(
    "li",
    null,
    h("span", null, NAMES[feature]),
    bar(NAMES[feature], done, total, feature),
    h("span", { class: "number" }, percent(total ? (100 * done) / total : 0)),
  );
}

function kinds(found) {
  if (found.total === 0) {
    return h("span", { class: "badge good" }, "no findings");
  }
  return Object.entries(found.findings).map(([kind, features]) => kindBadge(kind, sum(features)));
}

const sum = (features) => Object.values(features).reduce((total, number) => total + number, 0);
