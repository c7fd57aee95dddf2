// The address bar holds what is shown: `#/jobs/j_1/images?has=segment&page=2`.

const PATTERNS = [
  ["overview", /^\/$/, []],
  ["findings", /^\/findings$/, []],
  ["job", /^\/jobs\/([^/]+)$/, ["job"]],
  ["images", /^\/jobs\/([^/]+)\/images$/, ["job"]],
  ["frames", /^\/jobs\/([^/]+)\/frames$/, ["job"]],
  ["asset", /^\/assets\/(product_image|video_frame)\/([^/]+)$/, ["type", "id"]],
];

/** What a hash names: the view, the names in its path, and its parameters. */
export function parse(hash) {
  const [path, query = ""] = splitOnce(hash.replace(/^#/, "") || "/", "?");
  const params = Object.fromEntries(new URLSearchParams(query));
  for (const [view, pattern, names] of PATTERNS) {
    const found = pattern.exec(path);
    const values = found?.slice(1).map(decode);
    if (values && !values.includes(null)) {
      return { view, params, ...Object.fromEntries(names.map((name, at) => [name, values[at]])) };
    }
  }
  return { view: "unknown", params };
}

/** Whether two routes show the same thing, however filtered. */
export function sameView(one, other) {
  return one.view === other.view && one.job === other.job && one.id === other.id && one.type === other.type;
}

/** The hash for a path of parts and parameters; empty parameters are left out. */
export function link(parts, params = {}) {
  const path = parts.map(encodeURIComponent).join("/");
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value)).toString();
  return `#/${path}${query ? `?${query}` : ""}`;
}

/** The hash of the same view with some parameters changed; without `page` the first page is meant. */
export function changed(route, changes) {
  const { page: _, ...kept } = route.params;
  return link(partsOf(route), { ...kept, ...changes });
}

function partsOf(route) {
  switch (route.view) {
    case "job":
      return ["jobs", route.job];
    case "images":
    case "frames":
      return ["jobs", route.job, route.view];
    case "asset":
      return ["assets", route.type, route.id];
    case "findings":
      return ["findings"];
    default:
      return [""];
  }
}

/** An address of the sidecar, relative to this page, so that a prefix of a proxy stays. */
export function api(parts, params = {}) {
  const query = new URLSearchParams(
    Object.entries(params).filter(([, value]) => value !== "" && value != null),
  );
  const text = query.toString();
  return parts.map(encodeURIComponent).join("/") + (text ? `?${text}` : "");
}

/** Whether the sidecar gives files away, and pictures of them. */
export const filesServed = document.documentElement.dataset.files !== "off";
export const NO_FILES = "Files and pictures are turned off here (web.files).";

/** The address of a file below one of the routes that take a path. */
export function fileAddress(kind, path, params = {}) {
  return api([kind, ...path.split("/")], params);
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
