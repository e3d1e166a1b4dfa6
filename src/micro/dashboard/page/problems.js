// What is wrong now: errors, refusals, missing instances and old versions.

import { toEndpoint, link } from "./address.js";
import { count, plural, since } from "./format.js";

const KEPT_MS = 60_000; // an error of a moment ago is still news
const dismissed = new Set(JSON.parse(localStorage.getItem("dismissed") ?? "[]")); // ids of instances
const recent = new Map(); // errors and refusals by kind, service, endpoint and subject

export const KINDS = ["Errors", "Refusals", "Missing instances", "Old versions"];

/** Keep the errors and refusals between two states. */
export function remember(state, before) {
  const earlier = new Map(before?.services.map((service) => [service.name, service]));
  for (const service of state.services) {
    for (const endpoint of service.endpoints) {
      const old = earlier.get(service.name)?.endpoints.find((one) =>
        one.name === endpoint.name && one.subject === endpoint.subject);
      for (const [kind, text, weight] of happenings(endpoint, old)) {
        const key = JSON.stringify([kind, service.name, endpoint.name, endpoint.subject]);
        recent.set(key, { key, kind, service: service.name, what: endpoint.name, text, weight,
          href: toEndpoint(service, endpoint), at: state.looked_at_ms });
      }
    }
  }
  for (const [key, problem] of recent) {
    if (state.looked_at_ms - problem.at > KEPT_MS) recent.delete(key);
  }
}

function happenings(endpoint, old) {
  const found = [];
  if (endpoint.errors_per_second > 0) {
    const last = endpoint.last_error ? `, the last: ${endpoint.last_error}` : "";
    found.push(["Errors", `${count(endpoint.errors_per_second)} errors/s${last}`, endpoint.errors_per_second]);
  }
  for (const [key, what] of [["rejected", "refused"], ["expired", "expired"]]) {
    const more = (endpoint.own?.[key] ?? 0) - (old?.own?.[key] ?? Infinity);
    if (more > 0) found.push(["Refusals", `${plural(more, "request")} ${what}`, more]);
  }
  return found;
}

/** Return the missing instances of a state that nobody has dismissed, since a stop may be intended. */
export const missingOf = (state) => state.missing.filter((one) => !dismissed.has(one.id));

/** Show an instance as missing no more, in this browser. */
export function dismiss(id) {
  dismissed.add(id);
  localStorage.setItem("dismissed", JSON.stringify([...dismissed].slice(-1000)));
}

/** Return the problems of a state, the largest of each kind first: {key, kind, service, what, text, href, when}. */
export function problemsOf(state) {
  const now = state.looked_at_ms;
  const news = [...recent.values()].sort((a, b) => b.weight - a.weight).map((one) => ({ ...one, when: one.at === now ? "now" : since(one.at, now) }));
  const missing = missingOf(state).map((one) => ({ kind: "Missing instances", service: one.service,
    what: one.id, id: one.id, text: `version ${one.version} does not answer any more`, when: since(one.seen_ms, now) }));
  const old = state.services.filter((one) => one.versions.length > 1).map(oldVersions);
  return [...news, ...[...missing, ...old].map((one) => ({ ...one, href: link(one.service),
    key: JSON.stringify([one.kind, one.service, one.what]) }))];
}

function oldVersions(service) {
  const newest = service.versions.at(-1);
  const old = service.instances.filter((one) => one.version !== newest);
  return { kind: "Old versions", service: service.name, what: service.versions.slice(0, -1).join(", "), when: "now",
    text: `${count(old.length)} of ${plural(service.instances.length, "instance")}, the newest is ${newest}` };
}
