// The findings of a job, or of everything, with filters and pages.

import { h } from "./dom.js";
import { ago, count } from "./format.js";
import {
  KIND_OPTIONS,
  choiceFilter,
  featureOptions,
  filters,
  kindBadge,
  missing,
  offsetOf,
  pager,
  textFilter,
} from "./parts.js";
import { api, link } from "./route.js";
import { KINDS, NAMES, agreement } from "./words.js";

const LIMIT = 20;

/** The address of the page of findings that a route shows. */
export function findingsAddress(route) {
  return addressOf(route, { limit: LIMIT, offset: offsetOf(route, LIMIT) });
}

function addressOf(route, more) {
  const { kind, feature, type, q, sort } = route.params;
  const parts = route.job ? ["jobs", route.job, "verification", "findings"] : ["verification", "findings"];
  return api(parts, { kind, feature, asset_type: type, q, sort_by: sort, ...more });
}

export const title = () => "Findings";

const REPORT = "verification";

export const wanted = ({ route }) => ["healthz", REPORT, findingsAddress(route)];

/** Whether as many findings are listed as are counted. */
export const agree = (view) => listsAll(view, view.data(REPORT));

export function render(view) {
  const report = view.data(REPORT) ?? undefined;
  return [h("h1", { tabindex: -1 }, "Findings"), findingList(view, report, "All findings")];
}

/** Whether the list has as many findings as a report counts, where the report can tell. */
export function listsAll({ route, data }, report) {
  const page = data(findingsAddress(route));
  const { kind, feature, type, q } = route.params;
  if (!page || !report || type || q) {
    return true;
  }
  const chosen = (names) => (name) => !names || names.split(",").includes(name);
  const counted = Object.entries(report.findings)
    .filter(([name]) => chosen(kind)(name))
    .flatMap(([, features]) => Object.entries(features).filter(([name]) => chosen(feature)(name)))
    .reduce((sum, [, number]) => sum + number, 0);
  return page.total === counted;
}

/** Filters, the list and its pages; `report` counts what is in it. */
export function findingList({ route, data, answer }, report = {}, label) {
  const page = data(findingsAddress(route));
  const { kind, feature, type, q } = route.params;
  return h(
    "section",
    { class: "card findings", "aria-labelledby": "findings" },
    h(
      "h2",
      { id: "findings", tabindex: -1 },
      label,
      page ? h("span", { class: "total" }, ` ${count(page.total)}`) : null,
    ),
    filters(
      "Filter findings",
      textFilter(route, "q", "Search", "Part of a path or id"),
      choiceFilter(route, "kind", "Kind", KIND_OPTIONS),
      choiceFilter(
        route,
        "feature",
        "File",
        featureOptions("All files", "image", "segment", "embedding", "keypoints"),
      ),
      choiceFilter(route, "type", "Assets", [
        ["", "All assets"],
        ["product_image", "Product images"],
        ["video_frame", "Video frames"],
      ]),
      choiceFilter(route, "sort", "Sort by", [
        ["", "Id"],
        ["kind", "Kind"],
        ["path", "Path"],
      ]),
    ),
    kindWords(kind),
    page ? table(page.items) : missing(answer(findingsAddress(route)), "findings"),
    page?.items.length === 0
      ? h(
          "p",
          { class: "empty" },
          kind || feature || type || q ? "No finding matches." : agreement(data("healthz"), report)[1],
        )
      : null,
    page ? pager(route, page) : null,
    report.withheld > 0
      ? h(
          "p",
          { class: "muted" },
          `${count(report.withheld)} more are withheld; the `,
          h("a", { href: "#/" }, "overview"),
          " says why.",
        )
      : null,
    page?.total > 0
      ? h("p", null, h("a", { href: addressOf(route, { format: "csv" }), download: "" }, "Download as CSV"))
      : null,
  );
}

/** What the kind that is chosen means, and what to do. */
function kindWords(kind) {
  const [, meaning, todo] = KINDS[kind] ?? [];
  return meaning ? h("p", null, `${meaning} `, h("span", { class: "muted" }, todo)) : null;
}

function table(items) {
  if (items.length === 0) {
    return null;
  }
  return h(
    "table",
    { class: "rows" },
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        ["Kind", "Asset", "File", "What is wrong", "Since"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h("tbody", null, items.map(row)),
  );
}

function row(item) {
  const key = `${item.asset_type}/${item.asset_id}/${item.feature}/${item.kind}`;
  return h(
    "tr",
    { "data-key": key },
    h("td", null, kindBadge(item.kind)),
    h("th", { scope: "row" }, h("a", { href: whereabouts(item), class: "path" }, item.asset_id)),
    h("td", { class: `feature ${item.feature}` }, NAMES[item.feature]),
    h("td", { class: "wrong" }, reason(item)),
    h(
      "td",
      { class: "muted nowrap" },
      h("time", { datetime: item.since, title: item.since }, ago(item.since)),
    ),
  );
}

/** The page of the asset; of a video, whose frames have gaps, those frames. */
function whereabouts(item) {
  const gap =
    item.kind === "suspect" &&
    item.asset_type === "video_frame" &&
    item.feature === "image" &&
    item.path === null;
  return gap && item.job_id !== null
    ? link(["jobs", item.job_id, "frames"], { owner: item.asset_id, sort: "id" })
    : link(["assets", item.asset_type, item.asset_id]);
}

/** Why there is a finding, and about which path. */
export function reason(item) {
  return [
    item.detail || KINDS[item.kind]?.[1],
    item.path ? h("span", { class: "path muted" }, item.path) : null,
    item.claimed_path && item.claimed_path !== item.path
      ? h("span", { class: "path muted" }, `claimed: ${item.claimed_path}`)
      : null,
  ];
}
