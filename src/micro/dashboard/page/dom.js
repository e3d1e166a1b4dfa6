// Elements of the page. Values of services become text or attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "polyline", "polygon"]);

/** Return an element: `el("a.name", {href: "#"}, "text", child, ...)`; null children are left out. */
export function el(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** Update the children of `node` to `wanted` in place, so that focus and selection stay. */
export function update(node, ...wanted) {
  const children = wanted.flat(Infinity).filter((child) => child !== null);
  children.forEach((child, position) => {
    const old = node.childNodes[position];
    if (old === undefined) node.append(child);
    else if (!alike(old, child)) old.replaceWith(child);
    else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== child.data) old.data = child.data;
    } else {
      copyAttributes(old, child);
      update(old, ...child.childNodes);
    }
  });
  while (node.childNodes.length > children.length) node.lastChild.remove();
}

function alike(old, child) {
  if (typeof child === "string") return false;
  const sameKey = old.dataset?.key === child.dataset?.key;
  return old.nodeType === child.nodeType && old.nodeName === child.nodeName && sameKey;
}

function copyAttributes(old, child) {
  for (const { name, value } of child.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // The reader decides whether details are open.
    if (!child.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
}

/** Return a line chart of the latest numbers. */
export function sparkline(values, label) {
  const width = 96, height = 24;
  const top = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((value, i) =>
    `${(i * step).toFixed(1)},${(height - 2 - (value / top) * (height - 5)).toFixed(1)}`);
  const line = points.join(" ");
  return el("svg.spark", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label,
    preserveAspectRatio: "none" },
    el("polygon", { points: `0,${height} ${line} ${width},${height}` }),
    el("polyline", { points: line }));
}

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

/** Return the age of an ISO time as text. */
export function since(started, now) {
  const seconds = Math.max(0, (now - Date.parse(started)) / 1000);
  if (!Number.isFinite(seconds)) return "–";
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}
