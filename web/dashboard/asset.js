// One image or frame: the picture with its mask and keypoints, its embedding, its files and its findings.

import { h, s } from "./dom.js";
import { reason } from "./findings.js";
import { ago, bytes, count, figure, position, stamp } from "./format.js";
import { counts, kindBadge, missing, sign } from "./parts.js";
import { api, changed, fileAddress, link } from "./route.js";
import { CHECKS, KINDS, NAMES } from "./words.js";

const SIZE = 1600;
const OPACITY = 60;
const undrawable = new Set(); // addresses of masks that cannot be shown
const DEFAULTS = { mask: String(OPACITY), points: "on" };

const record = (route) => api(["assets", route.type, route.id]);
const content = (file) => fileAddress("artifacts", file.path);

export const title = ({ id }) => id;

export function wanted({ route, data }) {
  const asset = data(record(route));
  const files = asset?.listed ? asset.files.filter((file) => file.path !== null) : [];
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
  const about = (feature) => (files[feature].path === null ? null : (data(content(files[feature]))?.content ?? null));
  const trouble = (feature) => (files[feature].path === null ? null : answer(content(files[feature]))?.problem);
  return [
    head,
    h("p", { class: "muted subline" }, ...facts(asset)),
    h(
      "div",
      { class: "asset" },
      viewer(route, asset, files, about),
      h("div", { class: "side" }, findingCard(asset.findings), embeddingCard(asset, files.embedding, about("embedding"), trouble("embedding"))),
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
    parts.push(h("a", { href: link(["jobs", job, view], { owner: asset.owner_id }) }, asset.owner_id ?? "no owner"));
  }
  parts.push(h("span", null, NAMES[route.type]));
  return h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, parts.map((part, at) => (at ? [h("span", { "aria-hidden": "true" }, " / "), part] : part)));
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

// --- the picture -----------------------------------------------------------------------------------

function viewer(route, asset, files, about) {
  const picture = about("image")?.picture;
  if (files.image.path === null || !asset.listed) {
    return h("section", { class: "card viewer" }, h("p", { class: "empty" }, sign("warn"), " There is no image on disk."));
  }
  const shown = settings(route);
  const points = about("keypoints")?.points ?? null;
  const mask = files.segment.path ? fileAddress("overlays", files.segment.path, { of: files.segment.modified_at }) : null;
  return h(
    "section",
    { class: "card viewer", "aria-label": "Picture" },
    h(
      "div",
      { class: "stage", vars: picture ? { "--ratio": ratio(picture), "--opacity": shown.mask / 100 } : { "--opacity": shown.mask / 100 } },
      h("img", { class: "photo", src: fileAddress("thumbnails", files.image.path, { size: SIZE, of: files.image.modified_at }), alt: `The image of ${asset.asset_id}`, on: events() }),
      mask ? h("img", { class: "mask", src: mask, alt: "", on: events(mask) }) : null,
      shown.points && points && picture ? dots(points, picture) : null,
    ),
    controls(route, shown, mask, files, points && picture ? pointWords(points, picture) : null),
  );
}

/** What becomes of a picture: one that cannot be shown is not, and of a mask it is said. */
function events(mask = null) {
  const became = (event, broken) => {
    event.target.toggleAttribute("data-broken", broken);
    if (mask !== null && undrawable.has(mask) !== broken) {
      undrawable[broken ? "add" : "delete"](mask);
      window.dispatchEvent(new Event("redraw"));
    }
  };
  return { error: (event) => became(event, true), load: (event) => became(event, false) };
}

function ratio(picture) {
  const [width, height] = upright(picture);
  return width / height;
}

const upright = ({ width, height, turned }) => (turned ? [height, width] : [width, height]);

function settings(route) {
  const mask = Number.parseInt(route.params.mask ?? DEFAULTS.mask, 10);
  return { mask: mask >= 0 && mask <= 100 ? mask : OPACITY, points: (route.params.points ?? DEFAULTS.points) !== "off" };
}

/** Set a parameter without a step in the browser's history; the default is left out. */
function show(route, name, value) {
  history.replaceState(null, "", changed(route, { [name]: value === DEFAULTS[name] ? "" : value }));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

function dots(points, picture) {
  const [width, height] = upright(picture);
  const all = points.rows.filter(([x, y]) => x !== null && y !== null);
  return s(
    "svg",
    { class: "dots", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${count(points.total)} keypoints` },
    all.map(([x, y, ...rest], at) =>
      s(
        "g",
        { class: "point" },
        s("title", null, `Keypoint ${at + 1}: ${[x, y, ...rest].map(figure).join(", ")}`),
        s("path", { class: "rim", d: `M${x} ${y}h0` }),
        s("path", { d: `M${x} ${y}h0` }),
      ),
    ),
  );
}

function controls(route, shown, mask, files, points) {
  return h(
    "div",
    { class: "controls" },
    mask && !undrawable.has(mask)
      ? h(
          "label",
          null,
          h("span", null, "Mask"),
          h("input", { type: "range", min: 0, max: 100, step: 5, value: shown.mask, name: "mask", "aria-label": "Opacity of the mask", "aria-valuetext": `${shown.mask} %`, on: { input: (event) => show(route, "mask", event.target.value) } }),
          h("output", { class: "number" }, `${shown.mask} %`),
        )
      : h("span", { class: "muted" }, mask ? "The mask cannot be drawn" : "No mask"),
    points
      ? h("label", null, h("input", { type: "checkbox", name: "points", checked: shown.points, on: { change: (event) => show(route, "points", event.target.checked ? "on" : "off") } }), h("span", null, points))
      : h("span", { class: "muted" }, files.keypoints.path ? "Keypoints cannot be drawn" : "No keypoints"),
    h("a", { class: "button", href: fileAddress("files", files.image.path) }, "Original"),
  );
}

function pointWords({ total, rows }, picture) {
  const [width, height] = upright(picture);
  const outside = rows.filter(([x, y]) => x < 0 || y < 0 || x > width || y > height).length;
  const number = total > rows.length ? `the first ${count(rows.length)} of ${count(total)}` : count(total);
  return `Keypoints (${number}${outside > 0 ? `, ${count(outside)} outside` : ""})`;
}

// --- beside it -------------------------------------------------------------------------------------

function findingCard(found) {
  return h(
    "section",
    { class: "card", "aria-labelledby": "found" },
    h("h2", { id: "found" }, "Findings", h("span", { class: "total" }, ` ${count(found.length)}`)),
    found.length === 0 ? h("p", { class: "empty" }, sign("good"), " Claims, files and contents agree.") : null,
    found.length > 0 ? h("ul", { class: "kinds" }, found.map(finding)) : null,
  );
}

function finding(item) {
  return h(
    "li",
    { "data-key": `${item.feature}/${item.kind}` },
    h("p", null, kindBadge(item.kind), h("b", { class: `feature ${item.feature}` }, NAMES[item.feature]), h("span", { class: "muted" }, `since ${ago(item.since)}`)),
    h("p", { class: "wrong" }, reason(item)),
    h("p", { class: "todo" }, KINDS[item.kind]?.[2]),
  );
}

function embeddingCard(asset, file, about, problem) {
  const figures = about?.array;
  return h(
    "section",
    { class: "card", "aria-labelledby": "embedding" },
    h("h2", { id: "embedding" }, "Embedding", figures ? h("span", { class: "total" }, ` ${figures.shape.map(count).join(" × ")} ${figures.dtype}`) : null),
    figures ? strip(figures) : h("p", { class: "empty" }, withoutEmbedding(asset, file, problem)),
    figures ? figureList(figures) : null,
    about?.note ? h("p", { class: "muted" }, about.note) : null,
  );
}

function withoutEmbedding(asset, file, problem) {
  if (problem) {
    return problem.detail;
  }
  if (file.path) {
    return "Loading…";
  }
  return asset.embedding_in_db ? "The database itself holds it." : "There is none.";
}

/** The values as a strip of colour: one for below zero, another one for above, stronger for further away. */
function strip(figures) {
  const most = Math.max(...figures.values.map((value) => Math.abs(value ?? 0)), Number.MIN_VALUE);
  const rows = 4;
  const columns = Math.ceil(figures.values.length / rows);
  return s(
    "svg",
    { class: "strip", viewBox: `0 0 ${columns} ${rows * 7 - 1}`, preserveAspectRatio: "none", role: "img", "aria-label": `${count(figures.values.length)} values from ${figure(figures.min)} to ${figure(figures.max)}` },
    figures.values.map((value, at) =>
      s("rect", {
        x: at % columns,
        y: Math.floor(at / columns) * 7,
        width: 1.02,
        height: 6,
        class: value === null ? "odd" : value < 0 ? "below" : "above",
        "fill-opacity": value === null ? 1 : (0.04 + 0.96 * (Math.abs(value) / most)).toFixed(3),
      }),
    ),
  );
}

function figureList(figures) {
  const rows = [
    ["Norm", figure(figures.norm)],
    ["Min", figure(figures.min)],
    ["Max", figure(figures.max)],
    ["Mean", figure(figures.mean)],
  ];
  if (figures.not_finite > 0) {
    rows.push(["Not finite", count(figures.not_finite)]);
  }
  return counts(rows);
}

// --- files and claims ------------------------------------------------------------------------------

function fileCard(asset) {
  return h(
    "section",
    { class: "card", "aria-labelledby": "files" },
    h("h2", { id: "files" }, "Files and claims"),
    h(
      "p",
      { class: "muted" },
      asset.recorded ? `The database has a row${asset.row_updated_at ? `, changed ${stamp(asset.row_updated_at)}` : ""}.` : "The database has no row of this asset.",
    ),
    h(
      "table",
      { class: "rows files" },
      h("thead", null, h("tr", null, ["", "On disk", "The database claims", "Content"].map((name) => (name ? h("th", { scope: "col" }, name) : h("td", null))))),
      h("tbody", null, asset.files.map((file) => fileRow(asset, file))),
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
    return h("span", { class: "muted" }, "no file");
  }
  const path = asset.listed ? h("a", { href: fileAddress("files", file.path), class: "path" }, file.path) : h("span", { class: "path" }, file.path);
  return [path, h("span", { class: "muted" }, `${bytes(file.size)} · ${stamp(file.modified_at)}`)];
}

function claimed(asset, file) {
  if (file.feature === "embedding" && asset.embedding_in_db) {
    return "held in the database itself";
  }
  if (file.claimed === null) {
    return h("span", { class: "muted" }, asset.recorded ? "nothing" : "no row");
  }
  if (file.claimed_path !== null && file.claimed_path === file.path) {
    return [h("span", { class: "agrees" }, sign("good"), " this file"), h("span", { class: "path muted" }, file.claimed)];
  }
  const words = file.claimed_path === null ? " outside the data root" : file.path === null ? " a file that is not there" : " another file";
  return [h("span", { class: "agrees" }, sign("bad"), words), h("span", { class: "path muted" }, file.claimed)];
}

function checkWords(file) {
  const words = CHECKS[file.check];
  if (!words) {
    return h("span", { class: "muted" }, file.path === null ? "–" : "not checked");
  }
  const severity = { ok: "good", corrupt: "bad", pending: "note" }[file.check] ?? "warn";
  return [h("span", { class: "agrees" }, sign(severity), ` ${words}`), file.detail ? h("span", { class: "muted" }, file.detail) : null];
}
