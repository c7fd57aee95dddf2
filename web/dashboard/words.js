// What the sidecar's own words mean, and what to do.

export const FEATURES = ["segment", "embedding", "keypoints"];

export const NAMES = {
  image: "Image",
  segment: "Mask",
  embedding: "Embedding",
  keypoints: "Keypoints",
  product_image: "Product image",
  video_frame: "Video frame",
};

export const PHASES = ["collection", "feature_extraction", "matching", "evidence", "completed"];

/** How a phase is shown. */
export function phaseName(phase) {
  return (phase.charAt(0).toUpperCase() + phase.slice(1)).replaceAll("_", " ");
}

export const KINDS = {
  missing: ["bad", "A row claims a file that is nowhere.", "Run the worker again, or clear the column."],
  corrupt: ["bad", "What the file holds is broken.", "Make or download it again."],
  empty: ["bad", "The file has size 0.", "Make it again; a worker may have been stopped while writing."],
  misplaced: ["warn", "The claimed file is not there, another one is used.", "Correct the row's path."],
  unrecorded: ["warn", "A file that no row names.", "Let the worker record it, or remove it."],
  stale: ["warn", "Older than its image.", "Make the artifact again from the new image."],
  orphan: ["warn", "An artifact without its image.", "Bring the image back, or remove the artifact."],
  outside: ["warn", "The claimed path lies outside the data root.", "Correct it, or add a path_map entry."],
  duplicate: ["note", "Several files for the same thing.", "Remove those that are not used."],
  suspect: ["note", "It looks odd, but may be right.", "Look at it."],
};

export const CHECKS = {
  none: "",
  pending: "waits for its check",
  ok: "intact",
  corrupt: "corrupt",
  unchecked: "could not be checked",
  withheld: "not as configured",
};

const WATCHERS = {
  inotify: "Changes are seen at once.",
  polling: "Looked at every few seconds; what is overwritten in place is seen by the next full scan.",
  "inotify and polling": "Changes are seen at once; some folders are looked at every few seconds.",
};

/** One root in plain words: `[severity, sentence, what to do]`; `scanned` is whether a full scan was done. */
export function rootWords(root, scanned) {
  if (root.available && root.directories === 0) {
    const sentence = scanned ? "Not there yet; taken up once it appears." : "Not looked at yet.";
    return ["note", sentence, ""];
  }
  if (!root.available) {
    return ["bad", "Not there. What was known below it is kept.", "Check that the volume is mounted."];
  }
  return ["good", WATCHERS[root.watcher] ?? `Watched by ${root.watcher}.`, ""];
}

/** The pipeline database in plain words. */
export function databaseWords(database, ago) {
  if (!database.configured) {
    return ["note", "None is configured: everything on disk belongs to one job.", ""];
  }
  if (!database.reachable) {
    const known = database.last_sync_at
      ? `Last read ${ago(database.last_sync_at)}; that stays in force.`
      : "";
    const todo =
      "Check the address, the network and the role's rights (database.url). It is tried again by itself.";
    return ["bad", `Cannot be read. ${known}`.trim(), todo];
  }
  if (!database.last_sync_at) {
    return ["note", "Is being read for the first time.", ""];
  }
  return ["good", `Read ${ago(database.last_sync_at)}.`, ""];
}

/** The sidecar as a whole. */
export function statusWords(health) {
  if (health.status === "starting") {
    return ["note", "Starting up", "The first look at all files is under way; lists are not complete yet."];
  }
  if (health.status === "degraded") {
    return ["bad", "Something needs attention", "Answers may be old or incomplete until this is mended:"];
  }
  if (health.problems.length > 0) {
    return ["warn", "Running, but perhaps not as it is meant to", ""];
  }
  const waits = health.pending.paths > 0;
  const all = waits ? "all but what has just changed" : "everything that is on disk and in the database";
  return ["good", "Up to date", `The index holds ${all}.`];
}

/** Where there is no finding: `[severity, sentence]`, which promises no more than was looked at. */
export function agreement(health, { withheld = 0, pending = {}, unchecked = {} } = {}) {
  const waiting = [...Object.values(pending), ...Object.values(unchecked), ...Object.values(health?.pending ?? {})];
  const open = waiting.some((number) => number > 0);
  if (withheld > 0) {
    return ["warn", "None but those that are withheld."];
  }
  if (health && !health.ready) {
    return ["note", "None so far: not everything has been looked at yet."];
  }
  if (health?.status === "degraded") {
    return ["warn", "None known, but not everything can be looked at now."];
  }
  return open ? ["good", "None so far."] : ["good", "Claims, files and contents agree."];
}

const ADVICE = [
  [/^root .* /, "Check that its volume is mounted and readable; it is taken up again by itself."],
  [/^data root/, "Check data.root in the configuration and the mount."],
  [/^cannot read/, "Check the rights of the folder for the user that the sidecar runs as."],
  [/^the index is full/, "Enlarge the memory-backed directory of the index (index.directory)."],
  [/^database:/, "Check database.url, the network and the role's rights; it is tried again by itself."],
  [/match no pattern/, "Adapt the patterns in [layout]; `sidecar explain PATH` says which one applies."],
  [/the scanner has/, "It is started again by itself; if this stays, its log says why."],
];

/** What to do about a line of /healthz `problems`; "" where the line says so itself. */
export function advice(problem) {
  return ADVICE.find(([pattern]) => pattern.test(problem))?.[1] ?? "";
}
