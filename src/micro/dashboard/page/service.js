// The main pane: one service with its endpoints and instances, or the overview of all.

import { toEndpoint } from "./address.js";
import { definitions, el } from "./dom.js";
import { count, nanoseconds, plural, since, total } from "./format.js";
import { KINDS, dismiss, missingOf } from "./problems.js";
import { plainMetadata } from "./search.js";
import { chart } from "./services.js";
import { table } from "./table.js";

/** Return the overview: totals, what is wrong now, and the endpoints of all found services. */
export function overview(state, matches, problems, redraw) {
  const instances = state.services.flatMap((service) => service.instances);
  const errors = total(instances, "errors_per_second");
  const rows = matches.flatMap(({ service, endpoints }) =>
    (endpoints.length ? endpoints : service.endpoints).map((endpoint) => ({ service, endpoint })));
  return el("article", { key: "#overview" },
    el("h2", {}, "Overview"),
    tiles([["Services", count(state.services.length)], ["Instances", count(instances.length)],
      ["Requests per second", count(total(instances, "requests_per_second"))],
      ["Errors per second", count(errors), errors > 0 ? "bad" : null]]),
    el("h3", {}, "What is wrong now"),
    problems.length === 0 ? el("p.none", {}, "Nothing: no errors or refusals in the last minute, no missing instances, one version a service.")
      : KINDS.map((kind) => problemList(kind, problems.filter((one) => one.kind === kind), redraw)),
    el("h3", { id: "all" }, `Endpoints of ${plural(matches.length, "service")}`),
    endpointTable({ id: "all", rows, withService: true, first: { column: 1, descending: true }, redraw }));
}

function problemList(kind, problems, redraw) {
  return problems.length === 0 ? null : el("section.problems", { key: kind, "aria-label": kind },
    el("h4", {}, kind, " ", el("span.tag.bad", {}, count(problems.length))),
    el("ul", {}, problems.map((one) => el("li", { key: one.key },
      el("a.go", { href: one.href }, el("span.name", {}, one.service), " ", one.what),
      el("span", {}, one.text, " ", one.id ? dismissal(one.id, redraw) : null), el("span.quiet", {}, one.when)))));
}

const dismissal = (id, redraw) => el("button.small", { type: "button", title: "Its stop was intended",
  onclick: () => { dismiss(id); redraw(); } }, "Dismiss");

/** Return the pane of a service. */
export function serviceView(service, selected, state, redraw) {
  const busy = service.endpoints.reduce((sum, one) => sum + (one.own?.in_flight ?? 0), 0);
  const slowest = Math.max(...service.endpoints.map((one) => one.own?.p99_ns ?? -1));
  const errors = total(service.instances, "errors_per_second");
  const missing = missingOf(state).filter((one) => one.service === service.name);
  return el("article", { key: service.name },
    el("h2", {}, service.name, " ", service.versions.map((one) => el("span.tag", { key: one }, one))),
    service.description ? el("p.description", {}, service.description) : null,
    metadataView(service.metadata),
    el("p", {}, el("a.link", { href: `/api.html?service=${encodeURIComponent(service.name)}` }, "API document")),
    tiles([
      ["Requests per second", [count(total(service.instances, "requests_per_second")), chart(service)]],
      ["Errors per second", count(errors), errors > 0 ? "bad" : null],
      ["Slowest p99", nanoseconds(slowest < 0 ? null : slowest)],
      ["Running now", service.endpoints.some((one) => one.own) ? count(busy) : "–"]]),
    el("h3", { id: "endpoints" }, "Endpoints"),
    service.endpoints.length === 0 ? el("p.none", {}, "This service has no endpoints.")
      : endpointTable({ id: "endpoints", rows: service.endpoints.map((endpoint) => ({ service, endpoint })),
        selected, redraw }),
    el("h3", { id: "instances" }, "Instances"),
    instanceTable(service, state, redraw),
    missing.map((one) => el("p.warn", { key: one.id },
      `${one.id}, version ${one.version}, does not answer any more: ${since(one.seen_ms, state.looked_at_ms)} `, dismissal(one.id, redraw))));
}

function tiles(entries) {
  return el("dl.tiles", {}, entries.map(([name, value, kind]) =>
    el("div", { key: name }, el("dt", {}, name), el("dd", { class: kind }, value))));
}

export function metadataView(metadata) {
  const entries = plainMetadata(metadata);
  return entries.length === 0 ? null : definitions("dl.metadata", entries);
}

function endpointTable({ id, rows, withService = false, selected, first, redraw }) {
  const own = (key) => ({ endpoint }) => endpoint.own?.[key] ?? null;
  const figure = (title, value, shown, kind) => ({ title, value, cell: (row) => shown(value(row)), kind });
  const columns = [
    { title: "Endpoint", value: ({ service, endpoint }) => (withService ? `${service.name} ` : "") + endpoint.name,
      cell: ({ service, endpoint }) => el("a.go", { href: toEndpoint(service, endpoint),
        "aria-current": endpoint === selected ? "true" : null },
        el("span.name", {}, withService ? `${service.name} ` : "", endpoint.name), el("code", {}, endpoint.subject)) },
    figure("Per s", ({ endpoint }) => endpoint.requests_per_second, count),
    figure("Requests", ({ endpoint }) => endpoint.num_requests, count),
    figure("Errors", ({ endpoint }) => endpoint.num_errors, count, ({ endpoint }) => errorKind(endpoint)),
    figure("Average", ({ endpoint }) => endpoint.average_ns, nanoseconds),
    figure("p50", own("p50_ns"), nanoseconds), figure("p95", own("p95_ns"), nanoseconds),
    figure("p99", own("p99_ns"), nanoseconds), figure("Running", own("in_flight"), count),
    figure("Queued", own("queued"), count, ({ endpoint }) => (endpoint.own?.queued > 0 ? "warn" : "")),
  ];
  return table({ id, label: id, columns, rows, first, redraw,
    key: ({ service, endpoint }) => toEndpoint(service, endpoint),
    attributes: ({ endpoint }) => ({ class: endpoint === selected ? "selected" : null }) });
}

function instanceTable(service, state, redraw) {
  const newest = service.versions.at(-1);
  const columns = [
    { title: "Instance", value: (one) => one.id, cell: (one) => el("code", {}, one.id) },
    { title: "Per s", value: (one) => one.requests_per_second, cell: (one) => count(one.requests_per_second) },
    { title: "Requests", value: (one) => one.num_requests, cell: (one) => count(one.num_requests) },
    { title: "Errors", value: (one) => one.num_errors, cell: (one) => count(one.num_errors), kind: errorKind },
    { title: "RTT", value: (one) => one.rtt_ms, cell: (one) => one.rtt_ms === null ? "–" : `${count(one.rtt_ms)} ms` },
    { title: "Started", value: (one) => Date.parse(one.started) || null,
      cell: (one) => since(Date.parse(one.started), state.looked_at_ms) },
    { title: "Version", value: (one) => one.version, cell: (one) => one.version,
      kind: (one) => (one.version === newest ? "" : "warn") },
  ];
  return table({ id: "instances", label: "instances", columns, rows: service.instances, key: (one) => one.id, redraw });
}

const errorKind = (one) => (one.errors_per_second > 0 ? "bad" : one.num_errors > 0 ? "some" : "");

/** Return what the pane says while there is no service to show. */
export function emptyView(state, name) {
  const [title, ...lines] = state === null ? ["Looking for services"]
    : !state.server.connected ? ["No NATS server", "The page goes on by itself once there is one. To start one here:",
      el("pre", {}, "micro server")]
    : name !== undefined ? [`No instance of ${name} answers`, "It appears again as soon as one does."]
    : ["No services yet", "A service appears here within seconds of its start, whatever its language. For example:",
      el("pre", {}, "micro run app:setup")];
  return el("div.empty", { key: title }, el("h2", {}, title), lines.map((one) => el("div", {}, one)));
}
