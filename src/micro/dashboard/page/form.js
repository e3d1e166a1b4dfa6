// A form for a JSON schema. A schema that has no form of fields gets a text area for JSON. The form
// checks no value: the service does, and a wrong value can be sent to see its answer.

import { el } from "./dom.js";

const MAX_DEPTH = 6;
const MAX_FIELDS = 200; // also of a recursive schema
let lastId = 0;

/** Return {node, read}; `read()` returns the payload as text. Without a schema: one text area. */
export function payloadForm(schemaText) {
  const schema = parse(schemaText);
  const area = el("textarea", { rows: 6, spellcheck: "false", autocomplete: "off" });
  const raw = el("label.raw", {}, "Payload", area);
  if (schema === null) return { node: raw, read: () => area.value };
  const form = field(schema, { root: schema, name: "Payload", required: true, depth: 0, count: { fields: 0 } });
  const fields = el("div.fields", {}, form.node);
  const choose = el("input", { type: "checkbox" });
  raw.hidden = true;
  choose.addEventListener("change", () => {
    if (choose.checked) area.value = text(form, 2);
    raw.hidden = !choose.checked;
    fields.hidden = choose.checked;
  });
  return {
    node: el("div", {}, el("label.check.switch", {}, choose, "Edit as text"), fields, raw),
    read: () => (choose.checked ? area.value : text(form)),
  };
}

function text(form, indent) {
  const value = form.read();
  return value === undefined ? "" : JSON.stringify(value, null, indent);
}

function parse(schemaText) {
  try {
    const schema = JSON.parse(schemaText);
    return typeof schema === "object" && !Array.isArray(schema) ? schema : null;
  } catch {
    return null;
  }
}

/** Return {node, read} for a schema; `read()` returns undefined for a value to leave out. */
function field(given, context) {
  const schema = settle(given, context.root);
  const at = { ...context, name: schema.title && context.depth === 0 ? schema.title : context.name };
  if (context.depth > MAX_DEPTH || ++context.count.fields > MAX_FIELDS) return json(schema, at);
  if ("const" in schema) return constant(schema, at);
  if (Array.isArray(schema.enum)) return choice(schema, at);
  if (schema.type === "object" && isObject(schema.properties)) {
    return Object.keys(schema.properties).length > MAX_FIELDS ? json(schema, at) : group(schema, at);
  }
  if (schema.type === "array" && isObject(schema.items)) return list(schema, at);
  if (schema.type === "boolean") return flag(schema, at);
  if (schema.type === "integer" || schema.type === "number") return number(schema, at);
  return schema.type === "string" ? line(schema, at) : json(schema, at);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Resolve references, and return the other branch of "this or null". */
function settle(given, root) {
  let schema = isObject(given) ? given : {};
  for (let hops = 0; hops < 16; hops++) {
    const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
    const real = Array.isArray(options) ? options.filter((one) => one?.type !== "null") : [];
    const next = typeof schema.$ref === "string" ? lookUp(schema.$ref, root)
      : real.length === 1 ? real[0] : null;
    if (!isObject(next)) return schema;
    const { $ref, anyOf, oneOf, allOf, ...own } = schema;
    schema = { ...next, ...own };
  }
  return {};
}

function lookUp(reference, root) {
  if (!reference.startsWith("#/")) return null;
  const keys = reference.slice(2).split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  return keys.reduce((value, key) => (isObject(value) && Object.hasOwn(value, key) ? value[key] : null), root);
}

/** Return a control with its label and description. */
function labelled(control, schema, { name, required }) {
  const id = `field-${++lastId}`;
  control.id = id;
  const hint = typeof schema.description === "string"
    ? el("small", { id: `${id}-hint` }, schema.description) : null;
  if (hint) control.setAttribute("aria-describedby", hint.id);
  if (required) control.setAttribute("aria-required", "true");
  const kind = el("span.kind", {}, kindOf(schema) + (required ? "" : ", optional"));
  return el("div.field", {}, el("label", { for: id }, name, " ", kind), control, hint);
}

function kindOf(schema) {
  const kind = Array.isArray(schema.enum) ? "choice" : schema.type ?? "JSON";
  return String(schema.format ?? kind);
}

function line(schema, at) {
  const input = el("input", { type: "text", value: schema.default ?? "", autocomplete: "off" });
  const read = () => (input.value === "" && !at.required ? undefined : input.value);
  return { node: labelled(input, schema, at), read };
}

function number(schema, at) {
  const input = el("input", { type: "text", inputmode: "decimal", value: schema.default ?? "",
    autocomplete: "off" });
  const read = () => {
    const typed = input.value.trim();
    if (typed === "") return undefined;
    return Number.isFinite(Number(typed)) ? Number(typed) : typed;
  };
  return { node: labelled(input, schema, at), read };
}

function flag(schema, at) {
  const input = el("input", { type: "checkbox" });
  input.checked = schema.default === true;
  const untouched = input.checked;
  const node = labelled(input, schema, at);
  node.classList.add("check");
  return { node, read: () => (input.checked === untouched && !at.required ? undefined : input.checked) };
}

function choice(schema, at) {
  const options = schema.enum.map((value, i) => el("option", { value: i }, String(value)));
  if (!at.required) options.unshift(el("option", { value: "" }, "–"));
  const select = el("select", {}, options);
  const chosen = schema.enum.indexOf(schema.default);
  if (chosen >= 0) select.value = String(chosen);
  const read = () => (select.value === "" ? undefined : schema.enum[Number(select.value)]);
  return { node: labelled(select, schema, at), read };
}

function constant(schema, at) {
  const input = el("input", { type: "text", value: JSON.stringify(schema.const), readonly: true });
  return { node: labelled(input, schema, at), read: () => schema.const };
}

function json(schema, at) {
  const start = "default" in schema ? JSON.stringify(schema.default) : "";
  const area = el("textarea", { rows: 3, spellcheck: "false", autocomplete: "off" }, start);
  const read = () => {
    if (area.value.trim() === "") return undefined;
    try {
      return JSON.parse(area.value);
    } catch {
      return area.value;
    }
  };
  return { node: labelled(area, { ...schema, type: "JSON" }, at), read };
}

function group(schema, at) {
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const members = Object.entries(schema.properties).map(([name, inner]) => [name, field(inner,
    { root: at.root, name, required: required.has(name), depth: at.depth + 1, count: at.count })]);
  const read = () => {
    const found = members.map(([name, member]) => [name, member.read()]);
    const given = found.filter(([, value]) => value !== undefined);
    return given.length || at.required ? Object.fromEntries(given) : undefined;
  };
  return { node: fieldset(schema, at, members.map(([, member]) => member.node)), read };
}

function list(schema, at) {
  const items = [];
  const box = el("div");
  const add = () => {
    const name = `${at.name} ${items.length + 1}`;
    const item = field(schema.items, { root: at.root, name, required: true, depth: at.depth + 1,
      count: { fields: 0 } });
    const remove = el("button.small", { type: "button", "aria-label": `Remove ${name}`, title: "Remove" }, "×");
    const row = el("div.item", {}, item.node, remove);
    remove.addEventListener("click", () => {
      items.splice(items.indexOf(item), 1);
      row.remove();
      more.focus();
    });
    items.push(item);
    box.append(row);
    row.querySelector("input, select, textarea")?.focus();
  };
  const more = el("button.small", { type: "button" }, `Add to ${at.name}`);
  more.addEventListener("click", add);
  const read = () => {
    const given = items.map((item) => item.read()).filter((value) => value !== undefined);
    return given.length || at.required ? given : undefined;
  };
  return { node: fieldset(schema, at, [box, more]), read };
}

function fieldset(schema, at, children) {
  const hint = typeof schema.description === "string" ? el("small", {}, schema.description) : null;
  const kind = at.required ? null : el("span.kind", {}, "optional");
  return el(at.depth === 0 ? "fieldset.top" : "fieldset", {}, el("legend", {}, at.name, " ", kind), hint, children);
}
