// The files of an asset beside what the database claims about them.

import { h } from "./dom.js";
import { bytes, stamp } from "./format.js";
import { sign } from "./parts.js";
import { fileAddress, filesServed } from "./route.js";
import { CHECKS, NAMES } from "./words.js";

/** The card with a row for each file that an asset can have. */
export function fileCard(asset) {
  return h(
    "section",
    { class: "card", "aria-labelledby": "files" },
    h("h2", { id: "files" }, "Files and claims"),
    h(
      "p",
      { class: "muted" },
      asset.recorded
        ? `The database has a row${asset.row_updated_at ? `, changed ${stamp(asset.row_updated_at)}` : ""}.`
        : "The database has no row of this asset.",
    ),
    h(
      "table",
      { class: "rows files" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          ["", "On disk", "The database claims", "Content"].map((name) =>
            name ? h("th", { scope: "col" }, name) : h("td", null),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        asset.files.map((file) => fileRow(asset, file)),
      ),
    ),
  );
}

function fileRow(asset, file) {
  return h(
    "tr",
    { "data-key": file.feature },
    h("th", { scope: "row", class: `feature ${file.feature}` }, NAMES[file.feature]),
    h("td", { "data-name": "On disk" }, onDisk(asset, file)),
    h("td", { "data-name": "Claimed" }, claimed(asset, file)),
    h("td", { "data-name": "Content" }, checkWords(file)),
  );
}

function onDisk(asset, file) {
  if (file.path === null) {
    return h("span", { class: "muted" }, isEmpty(asset, file) ? "an empty file" : "no file");
  }
  const path = asset.listed && filesServed
    ? h("a", { href: fileAddress("files", file.path), class: "path" }, file.path)
    : h("span", { class: "path" }, file.path);
  return [path, h("span", { class: "muted" }, `${bytes(file.size)} · ${stamp(file.modified_at)}`)];
}

/** A file of size 0 is not there, but it is found. */
const isEmpty = (asset, { feature }) =>
  asset.findings.some((finding) => finding.kind === "empty" && finding.feature === feature);

function claimed(asset, file) {
  if (file.feature === "embedding" && asset.embedding_in_db) {
    return "held in the database itself";
  }
  if (file.claimed === null) {
    return h("span", { class: "muted" }, asset.recorded ? "nothing" : "no row");
  }
  if (file.claimed_path !== null && file.claimed_path === file.path) {
    return [
      h("span", { class: "agrees" }, sign("good"), " this file"),
      h("span", { class: "path muted" }, file.claimed),
    ];
  }
  const words =
    file.claimed_path === null
      ? " outside the data root"
      : file.path === null
        ? isEmpty(asset, file) ? " an empty file" : " a file that is not there"
        : " another file";
  return [
    h("span", { class: "agrees" }, sign("bad"), words),
    h("span", { class: "path muted" }, file.claimed),
  ];
}

function checkWords(file) {
  const words = CHECKS[file.check];
  if (!words) {
    return h("span", { class: "muted" }, file.path === null ? "–" : "not checked");
  }
  const severity = { ok: "good", corrupt: "bad", pending: "note" }[file.check] ?? "warn";
  return [
    h("span", { class: "agrees" }, sign(severity), ` ${words}`),
    file.detail ? h("span", { class: "muted" }, file.detail) : null,
  ];
}
