// Numbers, times and JSON as text.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value) =>
  value === null ? "–" : value < 100_000 ? NUMBER.format(value) : COMPACT.format(value);

export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export function nanoseconds(value) {
  if (value === null) return "–";
  if (value < 1e6) return `${NUMBER.format(value / 1e3)} µs`;
  return value < 1e9 ? `${NUMBER.format(value / 1e6)} ms` : `${NUMBER.format(value / 1e9)} s`;
}

/** Return how long before `now` a time was, both in milliseconds. */
export function since(time, now) {
  const seconds = Math.max(0, (now - time) / 1000);
  if (!Number.isFinite(seconds)) return "–";
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** Return JSON with indentation, and any other text as it is. */
export function pretty(text) {
  if (/\d{16}/.test(text)) return text; // JavaScript would change such numbers
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Return the sum of the known values, null if none is known. */
export function total(parts, key) {
  const known = parts.map((part) => part[key]).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
}
