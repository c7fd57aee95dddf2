// How much was done when: samples that this tab has seen, for rates and the chart. Kept over a reload.

const SPAN_MS = 30 * 60 * 1000;
const RATE_MS = 5 * 60 * 1000;
const APART_MS = 1500;
const MOST = 700;
const STORE = "history-1";

const series = new Map(Object.entries(load()));

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
}

function save() {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(Object.fromEntries(series)));
  } catch {
    // no room or no right to keep it: the history begins anew after a reload
  }
}

/** Note how much is done now, `{segment: 3, …}`, under a name. */
export function note(name, done) {
  const samples = series.get(name) ?? [];
  const now = Date.now();
  const last = samples.at(-1);
  if (last && now - last[0] < APART_MS) {
    return;
  }
  samples.push([now, done]);
  while (samples.length > MOST || samples[0][0] < now - SPAN_MS) {
    samples.shift();
  }
  series.set(name, samples);
  save();
}

/** The samples under a name, oldest first: `[milliseconds, {…}]`. */
export function samples(name) {
  return series.get(name) ?? [];
}

/** How many a minute in the last minutes; null while that cannot be told. */
export function rate(name, feature) {
  const all = samples(name);
  const last = all.at(-1);
  const first = all.find(([at]) => at >= (last?.[0] ?? 0) - RATE_MS);
  if (!last || last[0] - first[0] < 10000) {
    return null;
  }
  return ((last[1][feature] - first[1][feature]) / (last[0] - first[0])) * 60000;
}
