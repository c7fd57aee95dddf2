// One image or frame: the picture with its mask and keypoints, its embedding, its files and its findings.

import { embeddingCard } from "./embedding.js";
import { h } from "./dom.js";
import { fileCard } from "./files.js";
import { reason } from "./findings.js";
import { ago, count, position } from "./format.js";
import { kindBadge, missing, sign } from "./parts.js";
import { api, fileAddress, filesServed, link } from "./route.js";
import { viewer } from "./viewer.js";
import { KINDS, NAMES } from "./words.js";

const OPEN = new Set(["pending", "unchecked", "withheld"]); // a check that may still find something
const record = (route) => api(["assets", route.type, route.id]);
const content = (file) => fileAddress("artifacts", file.path);

export const title = ({ id }) => id;

export function wanted({ route, data }) {
  const asset = data(record(route));
  const files = asset?.listed && filesServed ? asset.files.filter((file) => file.path !== null) : [];
  return ["healthz", record(route), ...files.map(content)];
}

/** What a file holds is asked for less often than what the index says about it. */
export const slow = (address) => address.startsWith("artifacts/");

export function render({ route, data, answer }) {
  const asset = data(record(route));
  const head = [crumbs(route, asset), h("h1", { tabindex: -1, class: "path" }, route.id)];
  if (!asset) {
    return [head, missing(answer(record(route)), "the asset")];
  }
  const files = Object.fromEntries(asset.files.map((file) => [file.feature, file]));
  const about = (feature) =>
    files[feature].path === null ? null : (data(content(files[feature]))?.content ?? null);
  const trouble = (feature) =>
    files[feature].path === null ? null : answer(content(files[feature]))?.problem;
  return [
    head,
    h("p", { class: "muted subline" }, ...facts(asset)),
    h(
      "div",
      { class: "asset" },
      viewer(route, asset, files, about),
      h(
        "div",
        { class: "side" },
        findingCard(asset),
        embeddingCard(asset, files.embedding, about("embedding"), trouble("embedding")),
      ),
    ),
    fileCard(asset),
  ];
}

function crumbs(route, asset) {
  const job = asset?.jobs[0];
  const view = route.type === "product_image" ? "images" : "frames";
  const parts = [h("a", { href: "#/" }, "Overview")];
  if (job) {
    parts.push(h("a", { href: link(["jobs", job]) }, job));
    parts.push(
      h("a", { href: link(["jobs", job, view], { owner: asset.owner_id }) }, asset.owner_id ?? "no owner"),
    );
  }
  parts.push(h("span", null, NAMES[route.type]));
  return h(
    "nav",
    { class: "crumbs", "aria-label": "Breadcrumb" },
    parts.map((part, at) => (at ? [h("span", { "aria-hidden": "true" }, " / "), part] : part)),
  );
}

function facts(asset) {
  return [
    asset.title ?? asset.owner_id ?? "Of no product or video",
    asset.ts === null ? "" : ` · at ${position(asset.ts)}`,
    asset.jobs.length > 1 ? ` · in ${asset.jobs.join(", ")}` : asset.jobs.length ? "" : " · in no job",
    asset.updated_at ? ` · changed ${ago(asset.updated_at)}` : "",
    asset.listed ? "" : " · not listed: its image is not on disk",
  ];
}

// --- findings ------------------------------------------------------------------------------------

function findingCard({ findings: found, files }) {
  const open = files.some(({ check }) => OPEN.has(check));
  return h(
    "section",
    { class: "card", "aria-labelledby": "found" },
    h("h2", { id: "found" }, "Findings", h("span", { class: "total" }, ` ${count(found.length)}`)),
    found.length === 0
      ? h("p", { class: "empty" }, sign("good"), open ? " None so far." : " Claims, files and contents agree.")
      : null,
    found.length > 0 ? h("ul", { class: "kinds" }, found.map(finding)) : null,
  );
}

function finding(item) {
  return h(
    "li",
    { "data-key": `${item.feature}/${item.kind}` },
    h(
      "p",
      null,
      kindBadge(item.kind),
      h("b", { class: `feature ${item.feature}` }, NAMES[item.feature]),
      h("span", { class: "muted" }, `since ${ago(item.since)}`),
    ),
    h("p", { class: "wrong" }, reason(item)),
    h("p", { class: "todo" }, KINDS[item.kind]?.[2]),
  );
}
