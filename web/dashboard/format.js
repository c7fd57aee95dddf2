// Numbers, sizes and times for people.

const numbers = new Intl.NumberFormat("en");
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** 12345 as 12,345. */
export function count(value) {
  return numbers.format(value);
}

/** `1 image`, `3 images`. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A percentage with as many decimals as say something. */
export function percent(value) {
  if (value > 0 && value < 0.1) {
    return "<0.1 %";
  }
  return `${value >= 99.95 || Number.isInteger(value) ? Math.floor(value) : value.toFixed(1)} %`;
}

/** A size in bytes in decimal units. */
export function bytes(value) {
  let unit = 0;
  let shown = value;
  while (shown >= 1000 && unit < UNITS.length - 1) {
    shown /= 1000;
    unit += 1;
  }
  return `${shown >= 100 || unit === 0 ? Math.round(shown) : shown.toFixed(1)} ${UNITS[unit]}`;
}

/** How long ago a time in ISO 8601 or milliseconds is. */
export function ago(time) {
  const seconds = Math.round((Date.now() - new Date(time).getTime()) / 1000);
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

/** A number of seconds in its largest unit. */
export function duration(seconds) {
  if (seconds < 90) {
    return `${Math.round(seconds)} s`;
  }
  if (seconds < 90 * 60) {
    return `${Math.round(seconds / 60)} min`;
  }
  if (seconds < 36 * 3600) {
    return `${Math.round(seconds / 3600)} h`;
  }
  return `${Math.round(seconds / 86400)} days`;
}

/** A time of the sidecar as it writes it, shorter: `24 Nov 18:36:45`. */
export function stamp(iso) {
  const [date, rest] = iso.split("T");
  const [year, month, day] = date.split("-");
  const name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][
    month - 1
  ];
  const older = Number(year) === new Date().getFullYear() ? "" : ` ${year}`;
  return `${Number(day)} ${name}${older} ${rest.slice(0, 8)}`;
}

/** The time of day of a moment in milliseconds. */
export function clock(moment) {
  return new Date(moment).toLocaleTimeString("en-GB");
}

/** A number with as many digits as a person compares. */
export function figure(value) {
  if (value === null) {
    return "–";
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) {
    return value.toExponential(2);
  }
  return String(Number(value.toFixed(size < 10 ? 4 : 1)));
}

/** Seconds into a video: `0:09.5`. */
export function position(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(1).padStart(4, "0");
  return `${minutes}:${rest}`;
}
