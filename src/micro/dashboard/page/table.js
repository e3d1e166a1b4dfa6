// Tables whose columns sort them.

import { el } from "./dom.js";

const MAX_ROWS = 500;
const orders = new Map(); // the column and direction by table, kept over updates

/**
 * Return a table. A column is {title, value, cell, kind}: `value(row)` sorts, `cell(row)` is shown
 * and `kind(row)` is its class. The first column is the head of its row and sorts unless `first`
 * names another {column, descending}.
 */
export function table({ id, label, columns, rows, key, attributes = () => ({}), first, redraw }) {
  const order = orders.get(id) ?? first ?? { column: 0, descending: false };
  const shown = sorted(rows, columns[order.column], order.descending).slice(0, MAX_ROWS);
  const choose = (column) => {
    // Numbers are of interest from the top.
    const descending = order.column === column ? !order.descending : column > 0;
    orders.set(id, { column, descending });
    redraw();
  };
  const heads = columns.map((column, i) => el("th", { scope: "col", class: i ? "number" : null,
    "aria-sort": i !== order.column ? null : order.descending ? "descending" : "ascending" },
    el("button.sort", { type: "button", onClick: () => choose(i) }, column.title)));
  return el("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": label },
    el("table", { "aria-labelledby": label }, el("thead", {}, el("tr", {}, heads)),
      el("tbody", {}, shown.map((row) => el("tr", { key: key(row), ...attributes(row) },
        columns.map((column, i) => i === 0 ? el("th", { scope: "row" }, column.cell(row))
          : el("td", { class: `number ${column.kind?.(row) ?? ""}` }, column.cell(row))))))));
}

/** Return the rows by a column; an unknown value comes last. */
function sorted(rows, { value }, descending) {
  const compare = (a, b) => typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return descending ? compare(b, a) : compare(a, b);
  });
}
