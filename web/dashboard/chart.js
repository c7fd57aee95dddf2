// A small chart of done over time.

import { s } from "./dom.js";
import { clock, count } from "./format.js";
import { samples } from "./history.js";
import { FEATURES, NAMES } from "./words.js";

const HEIGHT = 132;
const LEFT = 4;
const RIGHT = 54;
const TOP = 8;
const BOTTOM = 22;
const APART = 2.4;

/** The chart of what was done under a name; null before there are two samples. */
export function chart(name, total, label) {
  const seen = samples(name);
  if (seen.length < 2) {
    return null;
  }
  const scale = scaled(seen, total, width());
  const text = FEATURES.map((feature) => `${NAMES[feature]} ${change(seen, feature)}`).join(", ");
  return s(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${scale.width} ${HEIGHT}`,
      role: "img",
      "aria-label": `${label}: ${text}`,
    },
    grid(scale),
    FEATURES.map((feature, at) => line(seen, feature, scale, APART * (at - 1))),
    times(seen, scale),
  );
}

/** About the pixels that there are for it, so that its text is as large as any other. */
function width() {
  const { innerWidth } = window;
  return Math.round(Math.min(1060, Math.max(240, innerWidth < 940 ? innerWidth - 64 : innerWidth / 2 - 84)));
}

function change(seen, feature) {
  return `${count(seen[0][1][feature])} to ${count(seen.at(-1)[1][feature])}`;
}

function scaled(seen, total, width) {
  const values = seen.flatMap(([, done]) => FEATURES.map((feature) => done[feature]));
  const room = Math.max(2, (Math.max(...values) - Math.min(...values)) * 0.15);
  const low = Math.max(0, Math.floor(Math.min(...values) - room));
  const high = Math.max(
    low + 1,
    Math.min(Math.max(total, Math.max(...values)), Math.ceil(Math.max(...values) + room)),
  );
  const [from, to] = [seen[0][0], Math.max(seen.at(-1)[0], seen[0][0] + 1000)];
  return {
    width,
    low,
    high,
    x: (at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - RIGHT),
    y: (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
  };
}

function grid({ width, low, high, y }) {
  return [...new Set([low, Math.round((low + high) / 2), high])].map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
    s("text", { x: width - RIGHT + 8, y: y(value) + 4 }, count(value)),
  ]);
}

/** Steps, since nothing is known between two samples; a little off, so that equal lines are all seen. */
function line(seen, feature, { x, y }, off) {
  const points = seen.flatMap(([at, done], place) => {
    const before = seen[place - 1];
    const here = `${x(at).toFixed(1)},${(y(done[feature]) + off).toFixed(1)}`;
    return before ? [`${x(at).toFixed(1)},${(y(before[1][feature]) + off).toFixed(1)}`, here] : [here];
  });
  return s("polyline", { class: `line ${feature}`, points: points.join(" "), fill: "none" });
}

function times(seen, { width }) {
  return [
    s("text", { x: LEFT, y: HEIGHT - 5 }, clock(seen[0][0])),
    s("text", { x: width - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, clock(seen.at(-1)[0])),
  ];
}
