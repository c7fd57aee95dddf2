// The picture of an asset with its mask laid over it and its keypoints drawn on it.

import { h, s } from "./dom.js";
import { count, figure } from "./format.js";
import { sign } from "./parts.js";
import { NO_FILES, changed, fileAddress, filesServed } from "./route.js";

const SIZE = 1600;
const OPACITY = 60;
const undrawable = new Set(); // addresses of masks that cannot be shown
const DEFAULTS = { mask: String(OPACITY), points: "on" };

/** The picture and what can be set about it; `about` says what the file of a feature holds. */
export function viewer(route, asset, files, about) {
  const picture = about("image")?.picture;
  if (files.image.path === null || !asset.listed) {
    return without("warn", "There is no image on disk.");
  }
  if (!filesServed) {
    return without("note", NO_FILES);
  }
  const shown = settings(route);
  const points = about("keypoints")?.points ?? null;
  const mask = files.segment.path
    ? fileAddress("overlays", files.segment.path, { of: files.segment.modified_at })
    : null;
  return h(
    "section",
    { class: "card viewer", "aria-label": "Picture" },
    h(
      "div",
      {
        class: "stage",
        vars: picture
          ? { "--ratio": ratio(picture), "--opacity": shown.mask / 100 }
          : { "--opacity": shown.mask / 100 },
      },
      h("img", {
        class: "photo",
        src: fileAddress("thumbnails", files.image.path, { size: SIZE, of: files.image.modified_at }),
        alt: `The image of ${asset.asset_id}`,
        on: events(),
      }),
      mask ? h("img", { class: "mask", src: mask, alt: "", on: events(mask) }) : null,
      shown.points && points && picture ? dots(points, picture) : null,
    ),
    controls(route, shown, mask, files, points && picture ? pointWords(points, picture) : null),
  );
}

function without(severity, why) {
  return h("section", { class: "card viewer" }, h("p", { class: "empty" }, sign(severity), ` ${why}`));
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
  return {
    mask: mask >= 0 && mask <= 100 ? mask : OPACITY,
    points: (route.params.points ?? DEFAULTS.points) !== "off",
  };
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
    {
      class: "dots",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `${count(points.total)} keypoints`,
    },
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
          h("input", {
            type: "range",
            min: 0,
            max: 100,
            step: 5,
            value: shown.mask,
            name: "mask",
            "aria-label": "Opacity of the mask",
            "aria-valuetext": `${shown.mask} %`,
            on: { input: (event) => show(route, "mask", event.target.value) },
          }),
          h("output", { class: "number" }, `${shown.mask} %`),
        )
      : h("span", { class: "muted" }, mask ? "The mask cannot be drawn" : "No mask"),
    points
      ? h(
          "label",
          null,
          h("input", {
            type: "checkbox",
            name: "points",
            checked: shown.points,
            on: { change: (event) => show(route, "points", event.target.checked ? "on" : "off") },
          }),
          h("span", null, points),
        )
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
