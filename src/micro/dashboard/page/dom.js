// Elements of the page. Values of services become text or attributes, never markup.

import { h, render } from "./vendor/preact.js";

/** Return an element: `el("a.name", {href: "#"}, "text", child, ...)`; null children are left out. */
export function el(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  return h(tag, classes.length ? { class: classes.join(" "), ...attributes } : attributes, ...children);
}

/** Show `children` in `node`: only what changed is touched, so that focus and selection stay. */
export const show = (node, ...children) => render(children, node);

/** Return a list of names and values. */
export const definitions = (selector, entries) => el(selector, {}, entries.map(([name, value]) =>
  el("div", { key: name }, el("dt", {}, name), el("dd", {}, value))));

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
