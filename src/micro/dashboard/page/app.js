// The page: polls the state of all services, shows it, and sends requests.

import { count, el, nanoseconds, plural, since, sparkline, update } from "./dom.js";
import { payloadForm } from "./form.js";

const HISTORY = 60;
const REQUEST_SCHEMA = "micro.request.schema";
const RESPONSE_SCHEMA = "micro.response.schema";

const $ = (id) => document.getElementById(id);
let state = null; // the last answer of /api/state
let answers = true; // whether /api/state answered the last time
let form = null; // the form of the selected endpoint
const rates = new Map(); // the latest rates by service

// Polling

async function follow() {
  for (;;) {
    if (document.hidden) await new Promise((seen) => addEventListener("visibilitychange", seen, { once: true }));
    try {
      const response = await fetch("/api/state", { signal: AbortSignal.timeout(15_000) });
      const found = await response.json();
      if (found.looked_at_ms !== state?.looked_at_ms) remember(found);
      state = found;
      answers = true;
    } catch {
      answers = false;
    }
    render();
    await new Promise((over) => setTimeout(over, state?.interval_ms ?? 2000));
  }
}

function remember(found) {
  const names = new Set(found.services.map((service) => service.name));
  for (const name of rates.keys()) if (!names.has(name)) rates.delete(name);
  for (const service of found.services) {
    const rate = total(service.instances, "requests_per_second");
    if (rate !== null) rates.set(service.name, [...(rates.get(service.name) ?? []), rate].slice(-HISTORY));
  }
}

function total(parts, key) {
  const known = parts.map((part) => part[key]).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
}

// The selection is in the address: #/service/endpoint/subject

function selection() {
  if (!location.hash.startsWith("#/")) return [];
  try {
    return location.hash.slice(2).split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

function selected() {
  const [name, endpointName, subject] = selection();
  const services = state?.services ?? [];
  const service = services.find((one) => one.name === name) ?? (name ? undefined : services[0]);
  const endpoint = service?.endpoints.find((one) => one.name === endpointName && one.subject === subject);
  return { name, service, endpoint };
}

// Display

function render() {
  const { name, service, endpoint } = selected();
  renderHead();
  renderServices(service);
  update($("main"), el("a.back", { href: "#" }, "‹ Services"),
    service ? serviceView(service, endpoint) : emptyView(name));
  renderPanel(service, endpoint);
  // Below 700 px, only this pane is shown.
  const isList = name === undefined && service !== undefined;
  document.body.dataset.pane = !$("panel").hidden ? "endpoint" : isList ? "services" : "service";
}

function renderHead() {
  const server = state?.server;
  const works = answers && server?.connected;
  $("server").className = works ? "up" : "down";
  const where = server ? `${server.url}${server.version ? ` · nats-server ${server.version}` : ""}` : "";
  setText($("server"), works ? where : answers ? `Not connected: ${where}` : "Dashboard not reachable");
  const services = state?.services ?? [];
  const instances = services.flatMap((one) => one.instances);
  const rate = total(instances, "requests_per_second");
  setText($("totals"), services.length === 0 ? "" : [plural(services.length, "service"),
    plural(instances.length, "instance"), `${count(rate)} requests/s`].join(" · "));
  const problem = answers ? state?.problem
    : "The dashboard does not answer. What is shown is old; is `micro dashboard` still running?";
  $("problem").hidden = !problem;
  setText($("problem"), problem ?? "");
  document.body.classList.toggle("stale", !works);
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text; // else screen readers repeat the text
}

function renderServices(current) {
  const wanted = $("filter").value.trim().toLowerCase();
  const services = (state?.services ?? []).filter((one) => one.name.toLowerCase().includes(wanted));
  update($("services"), services.map((one) => {
    const errors = total(one.instances, "errors_per_second");
    return el("li", { "data-key": one.name },
      el("a", { href: link(one.name), "aria-current": one === current ? "page" : null },
        el("span.name", {}, one.name),
        el("span.rate", {}, `${count(total(one.instances, "requests_per_second"))}/s`),
        el("span.about", {}, `${one.versions.length > 1 ? plural(one.versions.length, "version") : one.versions[0]} · ${plural(one.instances.length, "instance")}`,
          errors > 0 ? el("span.bad", {}, ` · ${count(errors)} errors/s`) : null),
        spark(one)));
  }));
}

const spark = (service) => sparkline(rates.get(service.name) ?? [], "requests per second of late");

function emptyView(name) {
  const [title, ...lines] = state === null ? ["Looking for services"]
    : !state.server.connected ? ["No NATS server", "The page goes on by itself once there is one. To start one here:",
      el("pre", {}, "micro server")]
    : name !== undefined ? [`No instance of ${name} answers`, "It appears again as soon as one does."]
    : ["No services yet", "A service appears here within seconds of its start, whatever its language. For example:",
      el("pre", {}, "micro run app:setup")];
  return el("div.empty", { "data-key": title }, el("h2", {}, title), lines.map((one) => el("div", {}, one)));
}

function serviceView(service, endpoint) {
  const newest = service.versions.at(-1);
  return el("article", { "data-key": service.name },
    el("h2", {}, service.name, " ", service.versions.map((one) => el("span.tag", {}, one))),
    service.description ? el("p.description", {}, service.description) : null,
    metadataView(service.metadata),
    tiles(service),
    el("h3", { id: "endpoints" }, "Endpoints"),
    table("endpoints", ["Endpoint", "Per s", "Requests", "Errors", "Average", "p50", "p95", "p99", "Running", "Queued"],
      service.endpoints.map((one) => endpointRow(service, one, one === endpoint)), "This service has no endpoints."),
    el("h3", { id: "instances" }, "Instances"),
    table("instances", ["Instance", "Per s", "Requests", "Errors", "RTT", "Started", "Version"],
      service.instances.map((one) => instanceRow(one, newest)), ""));
}

function tiles(service) {
  const slowest = Math.max(...service.endpoints.map((one) => one.own?.p99_ns ?? -1));
  const busy = service.endpoints.reduce((sum, one) => sum + (one.own?.in_flight ?? 0), 0);
  const errors = total(service.instances, "errors_per_second");
  return el("dl.tiles", {}, [
    ["Requests per second", [count(total(service.instances, "requests_per_second")), spark(service)], ""],
    ["Errors per second", count(errors), errors > 0 ? "bad" : ""],
    ["Slowest p99", nanoseconds(slowest < 0 ? null : slowest), ""],
    ["Running now", service.endpoints.some((one) => one.own) ? count(busy) : "–", ""],
  ].map(([name, value, kind]) => el("div", {}, el("dt", {}, name), el("dd", { class: kind || null }, value))));
}

function table(label, heads, rows, none) {
  if (rows.length === 0) return el("p.none", {}, none);
  const head = heads.map((text, i) => el("th", { scope: "col", class: i ? "number" : null }, text));
  return el("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": label },
    el("table", { "aria-labelledby": label }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

function row(first, cells, attributes) {
  return el("tr", attributes, el("th", { scope: "row" }, first),
    cells.map(([text, kind]) => el("td.number", kind ? { class: `number ${kind}` } : {}, text)));
}

function endpointRow(service, one, isSelected) {
  const own = one.own ?? {};
  const name = el("a", { href: link(service.name, one.name, one.subject), "aria-current": isSelected ? "true" : null },
    el("span.name", {}, one.name), el("code", {}, one.subject));
  return row(name, [[count(one.requests_per_second)], [count(one.num_requests)], errorCell(one),
    [nanoseconds(one.average_ns)], ...["p50_ns", "p95_ns", "p99_ns"].map((key) => [nanoseconds(own[key] ?? null)]),
    [count(own.in_flight ?? null)], [count(own.queued ?? null), own.queued > 0 ? "warn" : ""]],
    { "data-key": `${one.name} ${one.subject}`, class: isSelected ? "selected" : null });
}

function instanceRow(one, newest) {
  return row(el("code", {}, one.id), [[count(one.requests_per_second)], [count(one.num_requests)], errorCell(one),
    [one.rtt_ms === null ? "–" : `${count(one.rtt_ms)} ms`], [since(one.started, state.looked_at_ms)],
    [one.version, one.version === newest ? "" : "warn"]], { "data-key": one.id });
}

function errorCell(one) {
  return [count(one.num_errors), one.errors_per_second > 0 ? "bad" : one.num_errors > 0 ? "some" : ""];
}

function metadataView(metadata) {
  const entries = Object.entries(metadata).filter(([key]) => key !== REQUEST_SCHEMA && key !== RESPONSE_SCHEMA);
  return entries.length === 0 ? null : el("dl.metadata", {},
    entries.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
}

// The panel of an endpoint: its facts and the request form

function renderPanel(service, endpoint) {
  const hidden = endpoint === undefined;
  if (hidden && form?.place === location.hash) return; // the endpoint is gone: keep the input
  if (hidden && $("panel").contains(document.activeElement)) $("main").focus();
  $("panel").hidden = hidden;
  if (hidden) {
    form = null;
    return;
  }
  update($("facts"), facts(service, endpoint));
  const key = JSON.stringify([service.name, endpoint.name, endpoint.subject, endpoint.metadata[REQUEST_SCHEMA]]);
  if (form?.key === key) return;
  const isNew = form?.place !== location.hash;
  form = { key, place: location.hash, ...payloadForm(endpoint.metadata[REQUEST_SCHEMA]) };
  $("fields").replaceChildren(form.node);
  if (isNew) $("fields").querySelector(".field :is(input, select, textarea), .raw textarea")?.focus();
  $("subject").value = endpoint.subject;
  $("reply").hidden = true;
}

function facts(service, endpoint) {
  const own = endpoint.own;
  const lines = [["Subject", el("code", {}, endpoint.subject)],
    ["Queue group", endpoint.queue_groups.join(", ") || "none"],
    own ? ["Refused, expired", `${count(own.rejected)}, ${count(own.expired)}`] : null,
    own && Object.keys(own.errors).length ? ["Errors", Object.entries(own.errors).map(([code, number]) =>
      el("span.tag.bad", {}, `${code} × ${count(number)}`))] : null,
    endpoint.last_error ? ["Last error", endpoint.last_error] : null];
  return [el("h2", {}, endpoint.name, " ", el("a.close", { href: link(service.name), "aria-label": "Close" }, "×")),
    el("dl.facts", {}, lines.filter(Boolean).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    metadataView(endpoint.metadata),
    schemaView("Request schema", endpoint.metadata[REQUEST_SCHEMA]),
    schemaView("Response schema", endpoint.metadata[RESPONSE_SCHEMA])];
}

function schemaView(title, text) {
  return text === undefined ? null
    : el("details", { "data-key": title }, el("summary", {}, title), el("pre", { tabindex: "0" }, pretty(text)));
}

function pretty(text) {
  if (/\d{16}/.test(text)) return text; // JavaScript would change such numbers
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// Requests

async function send(event) {
  event.preventDefault();
  if (form === null || $("send").disabled) return;
  $("send").disabled = true;
  const asked = form;
  try {
    const found = await post({ subject: $("subject").value, data: form.read(), headers: readHeaders(),
      timeout: Number($("timeout").value) });
    if (asked === form) showReply(found);
  } catch (error) {
    showReply({ outcome: "failed", description: error.message });
  }
  $("send").disabled = false;
}

async function post(body) {
  const response = await fetch("/api/request", { method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" } });
  return response.ok ? response.json() : { outcome: "failed", description: await response.text() };
}

function readHeaders() {
  const lines = $("headers").value.split("\n").filter((line) => line.trim());
  return Object.fromEntries(lines.map((line) => {
    const [name, ...value] = line.split(":");
    return [name.trim(), value.join(":").trim()];
  }));
}

function showReply(found) {
  const titles = { reply: "Reply", error: `Error ${found.code}`, failed: "No reply" };
  const headers = Object.entries(found.headers ?? {});
  $("reply").hidden = false;
  $("reply").replaceChildren(
    el("h3", {}, el("span.tag", { class: `tag ${found.outcome === "reply" ? "good" : "bad"}` }, titles[found.outcome]),
      " ", el("span.elapsed", {}, found.elapsed_ms === undefined ? "" : `${count(found.elapsed_ms)} ms`)),
    ...[found.description ? el("p", {}, found.description) : null,
      found.data ? el("pre", { tabindex: "0", "aria-label": "Payload" }, found.is_base64 ? found.data : pretty(found.data)) : null,
      found.data === "" ? el("p.none", {}, "The payload is empty.") : null,
      found.is_base64 ? el("p.none", {}, "The payload is not text, and shown as base64.") : null,
      headers.length ? el("dl.metadata", { "aria-label": "Headers" }, headers.map(([name, value]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}, value)))) : null].filter(Boolean));
  $("reply").scrollIntoView({ block: "nearest" });
}

// The theme of the system, until the reader chooses one

function showTheme() {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setText($("theme"), dark ? "Light" : "Dark");
  $("theme").setAttribute("aria-label", `Switch to the ${dark ? "light" : "dark"} theme`);
}

$("theme").addEventListener("click", () => {
  localStorage.setItem("theme", $("theme").textContent.toLowerCase());
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
$("filter").addEventListener("input", render);
$("ask").addEventListener("submit", send);
$("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});
$("panel").addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("facts").querySelector(".close").click();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the selection
  $("main").focus();
});
addEventListener("hashchange", () => {
  render();
  $("main").scrollTop = 0;
});
showTheme();
follow();
