// All jobs, how the sidecar is, and what it found.

import { h } from "./dom.js";
import { ago, bytes, count, counted, percent } from "./format.js";
import { bar, choiceFilter, counts, filters, kindBadge, missing, offsetOf, pager, phases, sign, textFilter } from "./parts.js";
import { api, link } from "./route.js";
import { FEATURES, KINDS, NAMES, PHASES, advice, databaseWords, phaseName, rootWords, statusWords } from "./words.js";

const LIMIT = 12;
const JOBS = (route) =>
  api(["jobs"], { limit: LIMIT, offset: offsetOf(route, LIMIT), q: route.params.q, phase: route.params.phase });

export const title = () => "Overview";

export function wanted({ route, data }) {
  const jobs = data(JOBS(route))?.items ?? [];
  return ["healthz", "verification", JOBS(route), ...jobs.flatMap((job) => [report(job), summary(job)])];
}

/** What each job has is asked for less often than the list of jobs itself. */
export const slow = (address) => address.startsWith("jobs/");

const report = (job) => api(["jobs", job.job_id, "verification"]);
const summary = (job) => api(["jobs", job.job_id, "features", "summary"]);

export function render(view) {
  return [
    h("h1", { tabindex: -1 }, "Overview"),
    health(view),
    h("div", { class: "columns" }, h("div", { class: "side" }, jobs(view), state(view)), findings(view)),
  ];
}

// --- how it is -------------------------------------------------------------------------------------

function health({ data, down }) {
  const about = data("healthz");
  if (!about || down) {
    return null;
  }
  const [severity, sentence, more] = statusWords(about);
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
    validations > 0 ? `${counted(validations, "file waits", "files wait")} for a content check` : null,
  ];
  return `Just now ${parts.filter(Boolean).join(", and ")}.`;
}

// --- jobs ------------------------------------------------------------------------------------------

function jobs({ route, data, answer }) {
  const page = data(JOBS(route));
  const filtered = route.params.q || route.params.phase;
  return h(
    "section",
    { class: "jobs", "aria-labelledby": "jobs" },
    h("h2", { id: "jobs" }, "Jobs", page ? h("span", { class: "total" }, ` ${count(page.total)}`) : null),
    page && (page.total > 4 || filtered) ? jobFilters(route) : null,
    page
      ? h("ul", { class: "cards" }, page.items.map((job) => jobCard(job, data(report(job)), data(summary(job)))))
      : missing(answer(JOBS(route)), "jobs"),
    page?.items.length === 0 ? h("p", { class: "empty" }, filtered ? "No job matches." : "There is no job yet.") : null,
    page ? pager(route, page) : null,
  );
}

function jobFilters(route) {
  return filters(
    "Filter jobs",
    textFilter(route, "q", "Search", "Part of a job's id"),
    choiceFilter(route, "phase", "Phase", [["", "All phases"], ...PHASES.map((phase) => [phase, phaseName(phase)])]),
  );
}

function jobCard(job, found, done) {
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
    done ? h("ul", { class: "minis" }, FEATURES.map((feature) => mini(feature, done))) : null,
    h(
      "p",
      { class: "foot" },
      h("span", { class: "badges" }, found ? kinds(found) : null),
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

// --- findings --------------------------------------------------------------------------------------

function findings({ data, answer }) {
  const found = data("verification");
  return h(
    "section",
    { class: "card", "aria-labelledby": "kinds" },
    h("h2", { id: "kinds" }, "Findings", found ? h("span", { class: "total" }, ` ${count(found.total)}`) : null),
    found ? kindList(found) : missing(answer("verification"), "findings"),
    found?.withheld > 0 ? h("p", { class: "muted" }, `${count(found.withheld)} more are withheld; the problems above say why.`) : null,
    found ? checks(found) : null,
  );
}

function kindList(found) {
  const all = Object.entries(found.findings);
  if (all.length === 0) {
    return h("p", { class: "empty" }, sign("good"), " Claims, files and contents agree.");
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
  return h(
    "p",
    { class: "muted line" },
    `${counted(checked, "file's content was", "files' contents were")} checked`,
    pending > 0 ? `, ${count(pending)} wait` : null,
    unchecked > 0 ? `, ${count(unchecked)} could not be` : null,
    ".",
  );
}

// --- roots, database, index ------------------------------------------------------------------------

function state({ data }) {
  const about = data("healthz");
  if (!about) {
    return null;
  }
  return h(
    "section",
    { class: "card state", "aria-labelledby": "state" },
    h("h2", { id: "state" }, "Where it looks"),
    h(
      "dl",
      { class: "facts" },
      about.roots.map((root) => fact(h("span", { class: "path" }, root.path), rootWords(root), counted(root.directories, "folder"))),
      fact("Pipeline database", databaseWords(about.database, ago)),
      fact("Files", ["good", `${counted(about.index.files, "file")}, ${counted(about.index.assets, "image or frame", "images and frames")}.`, ""], fileNotes(about)),
      fact("Last full scan", scanWords(about.scan)),
      about.volume.free_bytes === null ? null : fact("Room on the volume", volumeWords(about.volume)),
    ),
  );
}

function fact(name, [severity, sentence, todo], extra = "") {
  return h(
    "div",
    null,
    h("dt", null, sign(severity), h("span", null, name)),
    h("dd", null, sentence, extra ? h("span", { class: "muted" }, ` ${extra}`) : null, todo ? h("p", { class: "todo" }, todo) : null),
  );
}

function fileNotes(about) {
  const notes = [
    about.unmatched_files > 0 ? `${count(about.unmatched_files)} match no pattern.` : "",
    about.skipped_names > 0 ? `${counted(about.skipped_names, "name is", "names are")} not UTF-8 and skipped.` : "",
  ];
  return notes.filter(Boolean).join(" ");
}

function scanWords(scan) {
  if (!scan.last_completed_at) {
    return ["note", "The first one is under way.", ""];
  }
  const took = scan.seconds === null ? "" : `, took ${scan.seconds < 1 ? "less than a second" : `${Math.round(scan.seconds)} s`}`;
  return ["good", `${ago(scan.last_completed_at)}${took}.`, ""];
}

function volumeWords(volume) {
  const inodes = volume.free_inodes === null ? "" : `, ${count(volume.free_inodes)} files more`;
  const low = volume.free_bytes < 1e9 || (volume.free_inodes !== null && volume.free_inodes < 10000);
  return [low ? "warn" : "good", `${bytes(volume.free_bytes)} free${inodes}.`, low ? "Make room: a full volume ends in empty files." : ""];
}
