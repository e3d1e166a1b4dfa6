// Requests: sending, the reply, the headers to keep, and the same request as a command.

import { definitions, el, show } from "./dom.js";
import { count, pretty } from "./format.js";

const $ = (id) => document.getElementById(id);

/** Send a request to a service and return its outcome. */
export async function send(request, service) {
  keepHeaders(service);
  try {
    const response = await fetch("/api/request", { method: "POST", body: JSON.stringify(request),
      headers: { "Content-Type": "application/json" } });
    return response.ok ? await response.json() : { outcome: "failed", description: await response.text() };
  } catch (error) {
    return { outcome: "failed", description: error.message };
  }
}

/** Return the headers of lines such as "Name: value". */
export function headersOf(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  return Object.fromEntries(lines.map((line) => {
    const [name, ...value] = line.split(":");
    return [name.trim(), value.join(":").trim()];
  }));
}

// Headers may hold secrets. They are kept if the reader says so, for the requests to one service,
// and until the tab is closed.

const place = (service) => `headers of ${service}`;

function keepHeaders(service) {
  if ($("keep").checked) sessionStorage.setItem(place(service), $("headers").value);
  else sessionStorage.removeItem(place(service));
}

export function restoreHeaders(service) {
  const kept = sessionStorage.getItem(place(service));
  $("keep").checked = kept !== null;
  $("headers").value = kept ?? "";
}

/** Return the request as a command for a POSIX shell. The connection has the server, no credentials. */
export function toCommand({ subject, data, headers, timeout }, server) {
  const flags = Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}:${value}`]);
  if (!/^nats:\/\/(localhost|127\.0\.0\.1):4222$/.test(server.url)) flags.push("--server", server.url);
  if (timeout !== 5) flags.push("--timeout", `${timeout}s`);
  if (/\{\{/.test(data + Object.values(headers).join())) flags.push("--no-templates");
  return ["micro", "request", ...[...flags, "--", subject, data].map(quoted)].join(" ");
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Show the outcome of a request where it can be seen. */
export function showReply(outcome) {
  const titles = { reply: "Reply", error: `Error ${outcome.code}`, failed: "No reply" };
  const { data, is_base64: isBase64, elapsed_ms: elapsed } = outcome;
  const headers = Object.entries(outcome.headers ?? {});
  $("reply").hidden = false;
  show($("reply"),
    el("h3", {}, el("span", { class: `tag ${outcome.outcome === "reply" ? "good" : "bad"}` }, titles[outcome.outcome]),
      " ", el("span.elapsed", {}, elapsed === undefined ? "" : `${count(elapsed)} ms`)),
    outcome.description ? el("p", {}, outcome.description) : null,
    data ? el("pre", { tabindex: "0", "aria-label": "Payload" }, isBase64 ? data : pretty(data)) : null,
    data === "" ? el("p.none", {}, "The payload is empty.") : null,
    isBase64 ? el("p.none", {}, "The payload is not text, and shown as base64.") : null,
    headers.length ? definitions("dl.metadata", headers) : null);
  $("reply").scrollIntoView({ block: "nearest" });
}
