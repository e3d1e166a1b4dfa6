// The pane of services: overview, search, order, and what the search found in each service.

import { link, toEndpoint } from "./address.js";
import { el, sparkline } from "./dom.js";
import { count, plural, total } from "./format.js";

const HISTORY = 60;
const rates = new Map(); // the latest rates by service

export const ORDERS = {
  name: () => 0, // they come sorted by name
  requests: (service) => total(service.instances, "requests_per_second") ?? 0,
  errors: (service) => total(service.instances, "errors_per_second") ?? 0,
  problems: (service, problems) => problems.filter((one) => one.service === service.name).length,
};

/** Keep the rates of a state for the charts. */
export function rememberRates(state) {
  const names = new Set(state.services.map((service) => service.name));
  for (const name of rates.keys()) if (!names.has(name)) rates.delete(name);
  for (const service of state.services) {
    const rate = total(service.instances, "requests_per_second");
    if (rate !== null) rates.set(service.name, [...(rates.get(service.name) ?? []), rate].slice(-HISTORY));
  }
}

export const chart = (service) => sparkline(rates.get(service.name) ?? [], "requests per second of late");

/** Return the list. `matches` are of the search, `current` is the selected service or undefined. */
export function serviceList(matches, { current, order, problems, isOverview }) {
  const weights = new Map(matches.map(({ service }) => [service, ORDERS[order](service, problems)]));
  const inOrder = [...matches].sort((a, b) => weights.get(b.service) - weights.get(a.service));
  const reached = matches.some(({ service }) => service === current) ? current : null;
  return [
    el("li", { key: "overview" }, el("a.go", { href: "#overview", tabindex: reached ? "-1" : "0",
      "aria-current": isOverview ? "page" : null }, el("span.name", {}, "Overview"),
      el("span", { class: problems.length ? "rate bad" : "rate quiet" },
        problems.length ? plural(problems.length, "problem") : "no problems"))),
    ...inOrder.map((match) => item(match, reached)),
    matches.length === 0 ? el("li.none", { key: "none" }, "Nothing has all of these words.") : null,
  ];
}

function item({ service, endpoints }, reached) {
  const errors = total(service.instances, "errors_per_second");
  const version = service.versions.length > 1 ? plural(service.versions.length, "version") : service.versions[0];
  // Tab reaches one service, the arrow keys the others.
  return el("li", { key: `service ${service.name}` },
    el("a.go", { href: link(service.name), tabindex: service === reached ? "0" : "-1",
      "aria-current": service === reached ? "page" : null },
      el("span.name", {}, service.name),
      el("span.rate", {}, `${count(total(service.instances, "requests_per_second"))}/s`),
      el("span.about", {}, `${version} · ${plural(service.instances.length, "instance")}`,
        errors > 0 ? el("span.bad", {}, ` · ${count(errors)} errors/s`) : null),
      chart(service)),
    endpoints.map((one) => el("a.go.hit", { key: `${one.name} ${one.subject}`, tabindex: "-1",
      href: toEndpoint(service, one) }, one.name, " ", el("code", {}, one.subject))));
}
