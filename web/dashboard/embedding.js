// An embedding as a strip of colour, with its figures.

import { h, s } from "./dom.js";
import { count, figure } from "./format.js";
import { counts } from "./parts.js";
import { NO_FILES, filesServed } from "./route.js";

/** The card of an embedding: `about` is what its file holds, `problem` why that cannot be told. */
export function embeddingCard(asset, file, about, problem) {
  const figures = about?.array;
  return h(
    "section",
    { class: "card", "aria-labelledby": "embedding" },
    h(
      "h2",
      { id: "embedding" },
      "Embedding",
      figures
        ? h("span", { class: "total" }, ` ${figures.shape.map(count).join(" × ")} ${figures.dtype}`)
        : null,
    ),
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
    return filesServed ? "Loading…" : NO_FILES;
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
    {
      class: "strip",
      viewBox: `0 0 ${columns} ${rows * 7 - 1}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${count(figures.values.length)} values from ${figure(figures.min)} to ${figure(figures.max)}`,
    },
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
