// Roots, watcher, database and volume in plain words.

import { h } from "./dom.js";
import { ago, bytes, count, counted } from "./format.js";
import { sign } from "./parts.js";
import { databaseWords, rootWords } from "./words.js";

/** The card that says where the sidecar looks, and how that goes. */
export function state({ data }) {
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
      about.roots.map((root) =>
        fact(h("span", { class: "path" }, root.path), rootWords(root, about.scan.last_completed_at !== null), foldersIn(root)),
      ),
      fact("Pipeline database", databaseWords(about.database, ago)),
      fact(
        "Files",
        [
          "good",
          `${counted(about.index.files, "file")}, ${counted(about.index.assets, "image or frame", "images and frames")}.`,
          "",
        ],
        fileNotes(about),
      ),
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
    h(
      "dd",
      null,
      sentence,
      extra ? h("span", { class: "muted" }, ` ${extra}`) : null,
      todo ? h("p", { class: "todo" }, todo) : null,
    ),
  );
}

const foldersIn = (root) => (root.directories > 0 ? counted(root.directories, "folder") : "");

function fileNotes(about) {
  const notes = [
    about.unmatched_files > 0 ? `${count(about.unmatched_files)} match no pattern.` : "",
    about.skipped_names > 0
      ? `${counted(about.skipped_names, "name is", "names are")} not UTF-8 and skipped.`
      : "",
  ];
  return notes.filter(Boolean).join(" ");
}

function scanWords(scan) {
  if (!scan.last_completed_at) {
    return ["note", "The first one is under way.", ""];
  }
  const took =
    scan.seconds === null
      ? ""
      : `, took ${scan.seconds < 1 ? "less than a second" : `${Math.round(scan.seconds)} s`}`;
  return ["good", `${ago(scan.last_completed_at)}${took}.`, ""];
}

function volumeWords(volume) {
  const inodes = volume.free_inodes === null ? "" : `, room for ${counted(volume.free_inodes, "more file")}`;
  const low = volume.free_bytes < 1e9 || (volume.free_inodes !== null && volume.free_inodes < 10000);
  return [
    low ? "warn" : "good",
    `${bytes(volume.free_bytes)} free${inodes}.`,
    low ? "Make room: a full volume ends in empty files." : "",
  ];
}
