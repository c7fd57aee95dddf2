// The images or the frames of a job as pictures.

import { h } from "./dom.js";
import { counted, position } from "./format.js";
import { jobHead } from "./job.js";
import {
  KIND_OPTIONS,
  choiceFilter,
  filters,
  kindBadge,
  missing,
  offsetOf,
  pager,
  textFilter,
} from "./parts.js";
import { NO_FILES, api, fileAddress, filesServed, link } from "./route.js";
import { FEATURES, NAMES } from "./words.js";

const LIMIT = 60;
const MOST_VIDEOS = 200;
const TYPES = { images: "product_image", frames: "video_frame" };
const HAS = [
  ["", "All"],
  ["segment", "With mask"],
  ["embedding", "With embedding"],
  ["keypoints", "With keypoints"],
  ["any", "With any"],
  ["none", "With none of them"],
];
const SORTS = {
  images: [
    ["", "Changed last"],
    ["id", "Id"],
  ],
  frames: [
    ["", "Changed last"],
    ["id", "Id"],
    ["ts", "Time in the video"],
  ],
};

const status = (route) => api(["status", route.job]);
const videos = (route) =>
  api(["jobs", route.job, "videos"], { limit: MOST_VIDEOS, sort_by: "title", order: "asc" });

function assets(route, limit = LIMIT) {
  const { has, q, owner, kind, sort } = route.params;
  const order = sort ? { sort_by: sort === "ts" ? "ts" : "asset_id", order: "asc" } : {};
  const filter = { asset_type: TYPES[route.view], has, q, owner_id: owner, kind };
  return api(["jobs", route.job, "assets"], { ...filter, ...order, limit, offset: offsetOf(route, limit) });
}

export const title = ({ view, job }) => `${view === "images" ? "Product images" : "Video frames"} of ${job}`;

export function wanted({ route }) {
  const lists = route.view === "frames" ? [videos(route)] : [];
  return ["healthz", status(route), assets(route), ...lists];
}

/** Whether there are as many pictures as the head of the page says. */
export function agree({ route, data }) {
  const [job, page] = [data(status(route)), data(assets(route))];
  return !job || !page || filtered(route) || job.counts[route.view] === page.total;
}

export function render({ route, data, answer }) {
  const page = data(assets(route));
  return [
    jobHead(route, data(status(route))),
    h(
      "section",
      { class: "gallery", "aria-labelledby": "gallery" },
      h("h2", { id: "gallery", tabindex: -1, class: "aside" }, page ? found(route, page) : "Pictures"),
      filterForm(route, data(videos(route)), page),
      filesServed ? null : h("p", { class: "empty" }, NO_FILES),
      page ? pictures(page.items, route) : missing(answer(assets(route)), "pictures"),
      page?.items.length === 0 ? h("p", { class: "empty" }, nothing(route, page)) : null,
      page ? pager(route, page) : null,
    ),
  ];
}

function found(route, page) {
  const one = route.view === "images" ? "image" : "frame";
  const verb = page.total === 1 ? " matches" : " match";
  return counted(page.total, one) + (filtered(route) ? verb : "");
}

const filtered = ({ params }) => ["has", "q", "owner", "kind"].some((name) => params[name]);

function nothing(route, page) {
  if (page.total > 0) {
    return "There is nothing on this page.";
  }
  return filtered(route) ? "Nothing matches." : "None on disk yet.";
}

function filterForm(route, list, page) {
  const owners = [...new Set((page?.items ?? []).map((item) => item.owner_id).filter(Boolean))];
  return filters(
    "Filter pictures",
    textFilter(route, "q", "Search", "Part of an id or title"),
    choiceFilter(route, "has", "Artifacts", HAS),
    choiceFilter(route, "kind", "Findings", [["", "All"], ...KIND_OPTIONS.slice(1)]),
    route.view === "frames"
      ? videoFilter(route, list)
      : [
          textFilter(route, "owner", "Product", "A product's id", "owners"),
          h(
            "datalist",
            { id: "owners" },
            owners.map((id) => h("option", { value: id })),
          ),
        ],
    choiceFilter(route, "sort", "Sort by", SORTS[route.view]),
  );
}

/** A choice of videos; where there are too many of them, or the chosen one is not among them, its id. */
function videoFilter(route, list) {
  const items = list?.items ?? [];
  const chosen = route.params.owner;
  const options = items.map((video) => [
    video.video_id,
    video.title ? `${video.title} (${video.video_id})` : video.video_id,
  ]);
  if (chosen && !items.some((video) => video.video_id === chosen)) {
    options.push([chosen, chosen]);
  }
  return list && list.total > items.length
    ? textFilter(route, "owner", "Video", "A video's id")
    : choiceFilter(route, "owner", "Video", [["", "All videos"], ...options]);
}

function pictures(items, route) {
  return h(
    "ul",
    { class: `grid ${route.view}`, on: { keydown: walk } },
    items.map((item) => picture(item)),
  );
}

/** Arrow keys, Home and End go from picture to picture. */
function walk(event) {
  const links = [...event.currentTarget.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  const columns = links.filter(
    (each) => each.getBoundingClientRect().top === links[0].getBoundingClientRect().top,
  ).length;
  const steps = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: columns,
    ArrowUp: -columns,
    Home: -at,
    End: links.length - 1 - at,
  };
  const to = links[at + steps[event.key]];
  if (at >= 0 && event.key in steps && to) {
    event.preventDefault();
    to.focus();
  }
}

function picture(item) {
  const has = FEATURES.filter((feature) => item[`has_${feature}`]);
  const kinds = [...new Set(item.findings.map((finding) => finding.kind))];
  const time = item.ts === null ? null : h("span", { class: "muted" }, position(item.ts));
  return h(
    "li",
    { "data-key": item.asset_id },
    h(
      "a",
      { class: "picture", href: link(["assets", item.asset_type, item.asset_id]) },
      filesServed ? thumbnail(item) : null,
      h("span", { class: "name path" }, item.asset_id),
      h(
        "span",
        { class: "about" },
        h("span", { class: "muted ellipsis" }, item.title ?? item.owner_id ?? ""),
        time,
      ),
      h(
        "span",
        { class: "marks" },
        h(
          "span",
          { class: "visually-hidden" },
          has.length ? `has ${has.map((name) => NAMES[name]).join(", ")}` : "no artifacts",
        ),
        FEATURES.map((name) =>
          h(
            "span",
            {
              class: `mark ${name} ${has.includes(name) ? "there" : "absent"}`,
              title: `${NAMES[name]}: ${has.includes(name) ? "there" : "not there"}`,
              "aria-hidden": "true",
            },
            NAMES[name],
          ),
        ),
        kinds.map((kind) => kindBadge(kind)),
      ),
    ),
  );
}

function thumbnail(item) {
  return h(
    "span",
    { class: "frame" },
    h("img", {
      src: fileAddress("thumbnails", item.image, { size: 320, of: item.updated_at }),
      alt: "",
      loading: "lazy",
      decoding: "async",
      on: { error: broken, load: (event) => event.target.removeAttribute("data-broken") },
    }),
  );
}

/** A picture that cannot be shown says so, rather than with the browser's sign. */
function broken(event) {
  event.target.setAttribute("data-broken", "");
}
