// JSON schemas: references, unions, first values and examples.

const MAX_HOPS = 16;
const MAX_PARTS = 10; // of one allOf
const MAX_NESTED = 3; // allOf in allOf
const MAX_DEPTH = 6; // of examples and required members
const MAX_MEMBERS = 200; // also of a recursive schema

export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return the schema of a text, null if it has none. */
export function parseSchema(text) {
  try {
    const schema = JSON.parse(text);
    return isObject(schema) ? schema : null;
  } catch {
    return null;
  }
}

/** Follow references; "this or null" becomes this, and the parts of `allOf` become one schema. */
export function settle(given, root, depth = 0) {
  let schema = isObject(given) ? given : {};
  for (let hops = 0; hops < MAX_HOPS && depth <= MAX_NESTED; hops++) {
    const next = step(schema, root, depth);
    if (next === null) return schema;
    schema = next;
  }
  return {};
}

function step(schema, root, depth) {
  const { $ref, anyOf, oneOf, allOf, type, ...own } = schema;
  if (typeof $ref === "string") return { ...lookUp($ref, root), ...own };
  if (Array.isArray(type)) {
    const types = type.filter((one) => one !== "null");
    return types.length === 1 ? { ...schema, type: types[0] }
      : { ...own, anyOf: types.map((one) => ({ ...own, type: one })) };
  }
  if (Array.isArray(allOf)) {
    const parts = allOf.slice(0, MAX_PARTS).map((one) => settle(one, root, depth + 1));
    return [...parts, allOf.length ? own : { ...own, type }].reduce(merge, {});
  }
  const real = unionOf(schema).filter((one) => one?.type !== "null");
  return real.length === 1 && isObject(real[0]) ? { ...real[0], ...own } : null;
}

const unionOf = ({ anyOf, oneOf }) => [anyOf, oneOf].find(Array.isArray) ?? [];

function merge(one, other) {
  const merged = { ...one, ...other };
  if (one.properties || other.properties) merged.properties = { ...one.properties, ...other.properties };
  if (one.required || other.required) merged.required = [...list(one.required), ...list(other.required)];
  return merged;
}

const list = (value) => (Array.isArray(value) ? value : []);

function lookUp(reference, root) {
  if (!reference.startsWith("#")) return {};
  const keys = reference.slice(2).split("/").filter(Boolean)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const found = keys.reduce((value, key) => (isObject(value) && Object.hasOwn(value, key) ? value[key] : null), root);
  return isObject(found) ? found : {};
}

/** Return the branches of a union, settled, without null; none if the schema is no union. */
export function branches(schema, root) {
  const real = unionOf(schema).filter((one) => one?.type !== "null").slice(0, MAX_MEMBERS);
  return real.length > 1 ? real.map((one) => settle(one, root)) : [];
}

/** Return the members of an object: [name, schema, whether it is required]; null if it has no list. */
export function members(schema) {
  if (!isObject(schema.properties)) return null;
  const entries = Object.entries(schema.properties);
  const required = new Set(list(schema.required));
  return entries.length > MAX_MEMBERS ? null : entries.map(([name, inner]) => [name, inner, required.has(name)]);
}

/**
 * Return the first value of a schema: with the parts that need no choice, so that the others can
 * be filled in. Undefined is left out.
 */
export function first(given, root, room = { left: MAX_MEMBERS }, depth = 0) {
  const schema = settle(given, root);
  if (depth > MAX_DEPTH || room.left-- <= 0) return undefined;
  if ("const" in schema) return schema.const;
  const [branch] = branches(schema, root);
  if (branch) return first(branch, root, room, depth);
  if (schema.type === "array") return [];
  if (schema.type === "boolean") return schema.default === true;
  const inner = schema.type === "object" ? members(schema) : null;
  if (inner === null) return undefined;
  const wanted = inner.filter(([, one, required]) => required || "const" in settle(one, root));
  return build(wanted, (one) => first(one, root, room, depth + 1));
}

/** Return an example: that of the schema, or one made of its parts. */
export function example(given, root, room = { left: MAX_MEMBERS }, depth = 0) {
  const schema = settle(given, root);
  const [own] = list(schema.examples);
  if (own !== undefined) return own;
  if ("const" in schema) return schema.const;
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if (depth > MAX_DEPTH || room.left-- <= 0) return undefined;
  const [branch] = branches(schema, root);
  if (branch) return example(branch, root, room, depth);
  if (schema.type === "array") {
    const item = example(schema.items, root, room, depth + 1);
    return item === undefined ? [] : [item];
  }
  if (schema.type !== "object") return simpleExample(schema);
  return build(members(schema) ?? [], (one) => example(one, root, room, depth + 1));
}

const EXAMPLES = { "date-time": "2026-01-31T12:00:00Z", date: "2026-01-31", time: "12:00:00",
  email: "ada@example.com", uri: "https://example.com", uuid: "00000000-0000-4000-8000-000000000000" };

function simpleExample(schema) {
  if (schema.type === "string") return EXAMPLES[schema.format] ?? "text".padEnd(Math.min(schema.minLength ?? 0, 100), "…");
  if (schema.type === "boolean") return true;
  if (schema.type !== "integer" && schema.type !== "number") return undefined;
  return schema.minimum ?? (schema.exclusiveMinimum === undefined ? 1 : schema.exclusiveMinimum + 1);
}

function build(inner, make) {
  const values = inner.map(([name, one]) => [name, make(one)]);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

/** Return whether a value may be of a branch: by its type, and the constants of an object. */
export function fits(value, schema) {
  if ("const" in schema) return value === schema.const;
  if (Array.isArray(schema.enum)) return schema.enum.includes(value);
  if (schema.type === "array") return Array.isArray(value);
  if (schema.type === "integer") return Number.isInteger(value);
  if (schema.type !== "object") return typeof value === schema.type;
  return isObject(value) && (members(schema) ?? []).every(([name, one]) =>
    !(isObject(one) && "const" in one) || value[name] === one.const);
}
