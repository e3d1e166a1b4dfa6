// A form for a JSON schema. A schema that has no form of fields gets a text area for JSON. The form
// checks no value: the service does, and its errors are shown beside their fields. A field that is
// not filled in is left out.

import { el, show } from "./dom.js";
import { branches, example, first, fits, isObject, members, parseSchema, settle } from "./schema.js";

const MAX_DEPTH = 20;
const MAX_FIELDS = 400; // also of a recursive schema

/** The form of one endpoint, in an element. Without a schema: one text area. */
export class PayloadForm {
  constructor(node, schemaText) {
    this.node = node;
    this.schema = parseSchema(schemaText);
    this.text = this.schema === null ? "" : null; // the payload while it is edited as text
    this.fill(this.schema === null ? undefined : first(this.schema, this.schema));
  }

  /** Return the payload as text. */
  payload() {
    if (this.text !== null) return this.text;
    return this.value === undefined ? "" : JSON.stringify(this.value);
  }

  focus() {
    this.node.querySelector("input:not([type=checkbox], [readonly]), select, textarea")?.focus();
  }

  /** Replace all values. */
  fill(value) {
    this.value = value;
    this.choices = new Map(); // the chosen branches of unions, by path
    this.errors = new Map(); // by path
    this.version = (this.version ?? 0) + 1; // new fields, as those on the page keep what was typed
    this.draw();
  }

  /** Show the errors of an outcome of micro (400 with a list of {loc, msg}) beside their fields. */
  showErrors({ outcome, data }) {
    this.errors = new Map();
    for (const { loc, msg } of outcome === "error" ? errorList(data) : []) {
      const path = this.pathOf(loc);
      this.errors.set(path, [...(this.errors.get(path) ?? []), msg]);
    }
    this.draw();
  }

  /** Return the path of the field of a location, in which names of union branches have no field. */
  pathOf(location) {
    return location.reduce((path, key) =>
      this.paths.has(inside(path, key)) ? inside(path, key) : path, "");
  }

  draw() {
    this.paths = new Set();
    this.room = MAX_FIELDS;
    if (this.schema === null) return show(this.node, el("label", { key: this.version }, "Payload", this.area()));
    const asText = this.text !== null;
    const name = typeof this.schema.title === "string" ? this.schema.title : "Payload";
    return show(this.node,
      el("div.switch", { key: "switch" },
        asText ? null : el("button.small", { type: "button", onClick: () => this.fill(example(this.schema, this.schema)) },
          "Fill in an example"),
        el("label", {}, el("input", { type: "checkbox", onChange: (event) => this.editAsText(event.target.checked) }),
          "Edit as text")),
      asText ? el("label", { key: "text" }, "Payload", this.area())
        : el("div.fields", { key: this.version }, this.field(this.schema, { name, required: true, depth: 0, path: "",
          value: this.value, set: (value) => { this.value = value; } })));
  }

  area() {
    return el("textarea", { rows: 8, spellcheck: "false", autocomplete: "off", defaultValue: this.text,
      onInput: (event) => { this.text = event.target.value; } });
  }

  editAsText(asText) {
    if (asText) {
      this.text = this.value === undefined ? "" : JSON.stringify(this.value, null, 2);
      return this.draw();
    }
    const value = parsed(this.text);
    this.text = null;
    return this.fill(value);
  }

  /**
   * Return the field of a schema.
   *
   * `at` is {name, required, depth, path, value, set}; `set(undefined)` leaves the value out.
   */
  field(given, at) {
    const schema = settle(given, this.schema);
    this.paths.add(at.path);
    if (at.depth > MAX_DEPTH || --this.room < 0) return this.json(schema, at);
    if ("const" in schema) return this.constant(schema, at);
    if (Array.isArray(schema.enum)) return this.choice(schema, at);
    const options = branches(schema, this.schema);
    if (options.length) return this.union(schema, options, at);
    if (schema.type === "object" && members(schema)) return this.group(schema, at);
    if (schema.type === "array" && isObject(schema.items)) return this.list(schema, at);
    if (schema.type === "boolean") return this.flag(schema, at);
    if (schema.type === "integer" || schema.type === "number") return this.number(schema, at);
    return schema.type === "string" ? this.line(schema, at) : this.json(schema, at);
  }

  line(schema, at) {
    const read = (text) => (text === "" && !at.required ? undefined : text);
    return this.input(schema, at, read, typeof at.value === "string" ? at.value : "");
  }

  number(schema, at) {
    const read = (text) => {
      const typed = text.trim();
      if (typed === "") return undefined;
      if (/^-?[1-9]\d{15,}$/.test(typed) && JSON.rawJSON) return JSON.rawJSON(typed); // too long for Number
      return Number.isFinite(Number(typed)) ? Number(typed) : typed; // the service says what is wrong
    };
    return this.input(schema, at, read, at.value?.rawJSON ?? at.value ?? "", { inputmode: "decimal" });
  }

  input(schema, at, read, value, more = {}) {
    const sample = [schema.default, schema.examples?.[0]].find((one) => one !== undefined && one !== null);
    return this.labelled(schema, at, "input", { type: "text", autocomplete: "off", defaultValue: value,
      placeholder: sample === undefined || isObject(sample) ? null : String(sample), ...more,
      onInput: (event) => this.change(at, read(event.target.value)) });
  }

  flag(schema, at) {
    return this.labelled(schema, at, "input", { type: "checkbox", defaultChecked: at.value ?? schema.default === true,
      onChange: (event) => this.change(at, event.target.checked) });
  }

  choice(schema, at) {
    const chosen = schema.enum.indexOf(at.value);
    const none = "default" in schema ? `${JSON.stringify(schema.default)} by default` : "–";
    const options = schema.enum.map((value, i) => el("option", { value: String(i), selected: i === chosen }, String(value)));
    return this.labelled(schema, at, "select", { onChange: (event) =>
      this.change(at, event.target.value === "" ? undefined : schema.enum[Number(event.target.value)]) },
    [el("option", { value: "", selected: chosen < 0 }, none), ...options]);
  }

  constant(schema, at) {
    return this.labelled(schema, at, "input", { type: "text", readonly: true, defaultValue: JSON.stringify(schema.const) });
  }

  json(schema, at) {
    return this.labelled({ ...schema, type: "JSON", enum: null }, at, "textarea", { rows: 3, spellcheck: "false",
      autocomplete: "off", defaultValue: at.value === undefined ? "" : JSON.stringify(at.value),
      onInput: (event) => this.change(at, parsed(event.target.value)) });
  }

  /** Return a choice of branches, and the field of the chosen one. */
  union(schema, options, at) {
    const guessed = options.findIndex((one) => fits(at.value, one));
    const chosen = this.choices.get(at.path) ?? (at.value === undefined && !at.required ? -1 : Math.max(guessed, 0));
    const choose = (event) => {
      const next = event.target.value === "" ? -1 : Number(event.target.value);
      this.choices.set(at.path, next);
      at.set(next < 0 ? undefined : first(options[next], this.schema));
      this.version++;
      this.draw();
      document.getElementById(`choice ${at.path}`)?.focus();
    };
    const id = `choice ${at.path}`;
    const select = el("select", { id, onChange: choose },
      at.required ? null : el("option", { value: "", selected: chosen < 0 }, "–"),
      options.map((one, i) => el("option", { value: String(i), selected: i === chosen }, branchName(one))));
    // The field of the branch shows the errors.
    return this.fieldset(schema, chosen < 0 ? at : { ...at, errors: [] }, [el("label", { for: id }, "Kind", select),
      chosen < 0 ? null : this.field(options[chosen], { ...at, required: true, depth: at.depth + 1,
        name: branchName(options[chosen]) })]);
  }

  /** Return the fields of an object. An optional object is left out until it is added. */
  group(schema, at) {
    if (!isObject(at.value) && at.required) at.set(at.value = first(schema, this.schema) ?? {});
    if (!isObject(at.value)) {
      return this.fieldset(schema, at, [this.button(at, `Add ${at.name}`, () => at.set(first(schema, this.schema) ?? {}))]);
    }
    const fields = members(schema).map(([name, inner, required]) =>
      this.field(inner, { name, required, depth: at.depth + 1, path: inside(at.path, name),
        value: Object.hasOwn(at.value, name) ? at.value[name] : undefined,
        set: (value) => (value === undefined ? delete at.value[name] : assign(at.value, name, value)) }));
    return this.fieldset(schema, at, [fields,
      at.required ? null : this.button(at, `Leave out ${at.name}`, () => at.set(undefined))]);
  }

  /** Return the fields of a list. An optional list is left out while it is empty. */
  list(schema, at) {
    const items = Array.isArray(at.value) ? at.value : [];
    const add = () => {
      const value = first(schema.items, this.schema);
      at.set([...items, value === undefined ? null : value]);
    };
    const remove = (i) => {
      const rest = items.filter((_, other) => other !== i);
      at.set(rest.length || at.required ? rest : undefined);
    };
    const rows = items.map((value, i) => {
      const name = `${at.name} ${i + 1}`;
      return el("div.item", { key: i },
        this.field(schema.items, { name, required: true, depth: at.depth + 1, path: inside(at.path, i),
          value: value ?? undefined, set: (next) => { items[i] = next === undefined ? null : next; } }),
        this.button(at, "×", () => remove(i), `Remove ${name}`));
    });
    return this.fieldset(schema, at, [rows, this.button(at, `Add to ${at.name}`, add)]);
  }

  /** Return a button of a group or list that changes which fields there are. */
  button(at, text, change, label = null) {
    const more = `${idOf(at.path)}-more`;
    const onClick = () => {
      const known = this.paths;
      change();
      this.choices = new Map(); // paths of items may have moved
      this.version++;
      this.draw();
      const added = [...this.paths].filter((path) => !known.has(path)).map(idOf);
      const next = [...added, more].map((one) => document.getElementById(one)).find((one) => one !== null);
      next?.focus();
    };
    return el("button.small", { type: "button", id: label ? null : more, onClick, "aria-label": label, title: label }, text);
  }

  change(at, value) {
    at.set(value);
    if (this.errors.delete(at.path)) this.draw();
  }

  /** Return a control with its label, description and errors. */
  labelled(schema, at, control, attributes, children = []) {
    const id = idOf(at.path);
    const errors = this.errors.get(at.path) ?? [];
    const hint = typeof schema.description === "string" ? el("small", { id: `${id}-hint` }, schema.description) : null;
    const told = [hint && `${id}-hint`, errors.length && `${id}-error`].filter(Boolean).join(" ");
    const kind = el("span.kind", {}, kindOf(schema) + (at.required || "const" in schema ? "" : ", optional"));
    return el("div", { key: at.path, class: attributes.type === "checkbox" ? "field check" : "field" },
      el("label", { for: id }, at.name, " ", kind),
      el(control, { id, "aria-describedby": told || null, "aria-required": at.required ? "true" : null,
        "aria-invalid": errors.length ? "true" : null, ...attributes }, children),
      hint, errorText(id, errors));
  }

  fieldset(schema, at, children) {
    const hint = typeof schema.description === "string" ? el("small", {}, schema.description) : null;
    return el(at.depth === 0 ? "fieldset.top" : "fieldset", { key: `group ${at.path}` },
      el("legend", {}, at.name, " ", at.required ? null : el("span.kind", {}, "optional")),
      hint, errorText(idOf(at.path), at.errors ?? this.errors.get(at.path) ?? []), children);
  }
}

const errorText = (id, errors) => (errors.length ? el("p.error", { id: `${id}-error` }, errors.join("; ")) : null);

const inside = (path, key) => `${path}/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** Return an id without characters that a selector would need to escape. */
const idOf = (path) => `field${[...path].map((one) => (/\w/.test(one) ? one : `-${one.codePointAt(0)}-`)).join("")}`;

const branchName = (schema) => {
  const constant = (members(schema) ?? []).find(([, one]) => isObject(one) && "const" in one);
  return String(schema.title ?? (constant ? constant[1].const : null) ?? kindOf(schema));
};

/** Set an own property, also one with the name of the prototype. */
const assign = (object, name, value) =>
  Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });

function kindOf(schema) {
  if ("const" in schema) return "constant";
  return String(schema.format ?? (Array.isArray(schema.enum) ? "choice" : schema.type ?? "JSON"));
}

/** Return the value of a JSON text; other text is a string, and no text is left out. */
function parsed(text) {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function errorList(data) {
  const errors = parsed(data ?? "");
  return Array.isArray(errors) ? errors.filter((one) => Array.isArray(one?.loc) && typeof one.msg === "string") : [];
}
