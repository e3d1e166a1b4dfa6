// The pane of an endpoint: its facts, the request form and the reply.

import { link } from "./address.js";
import { definitions, el, show } from "./dom.js";
import { PayloadForm } from "./form.js";
import { count, pretty } from "./format.js";
import { headersOf, restoreHeaders, send, showReply, toCommand } from "./request.js";
import { metadataView } from "./service.js";

const REQUEST_SCHEMA = "micro.request.schema";
const RESPONSE_SCHEMA = "micro.response.schema";

const $ = (id) => document.getElementById(id);
let shown = null; // {key, place, service, form}: what the pane is about
let server = null; // as in the state

/** Show an endpoint, or none. */
export function showEndpoint(service, endpoint, state) {
  const hidden = endpoint === undefined;
  if (hidden && shown?.place === location.hash) return; // the endpoint is gone: keep the input
  if (hidden) {
    if ($("panel").contains(document.activeElement)) linkTo(shown.place).focus();
    $("panel").hidden = true;
    shown = null;
    return;
  }
  $("panel").hidden = false;
  server = state.server;
  show($("facts"), facts(service, endpoint));
  const schema = endpoint.metadata[REQUEST_SCHEMA];
  const key = JSON.stringify([service.name, endpoint.name, endpoint.subject, schema]);
  if (shown?.key === key) return;
  const isNew = shown?.place !== location.hash;
  shown = { key, place: location.hash, service: service.name, form: new PayloadForm($("fields"), schema) };
  $("subject").value = endpoint.subject;
  $("reply").hidden = $("command").hidden = true;
  restoreHeaders(service.name);
  $("panel").scrollTop = 0;
  // On a phone, the focus would open the keyboard.
  if (isNew && !matchMedia("(max-width: 700px)").matches) shown.form.focus();
}

/** Return the link to a closed endpoint while its service is still shown, else the pane. */
function linkTo(place) {
  const links = place.startsWith(`${location.hash}/`) ? [...document.querySelectorAll("main a.go")] : [];
  return links.find((one) => one.getAttribute("href") === place) ?? $("main");
}

function facts(service, endpoint) {
  const own = endpoint.own;
  const lines = [["Subject", el("code", {}, endpoint.subject)],
    ["Queue group", endpoint.queue_groups.join(", ") || "none"],
    own ? ["Refused, expired", `${count(own.rejected)}, ${count(own.expired)}`] : null,
    own && Object.keys(own.errors).length ? ["Errors", Object.entries(own.errors).map(([code, number]) =>
      el("span.tag.bad", { key: code }, `${code} × ${count(number)}`))] : null,
    endpoint.last_error ? ["Last error", endpoint.last_error] : null];
  return [el("a.back", { href: link(service.name) }, `‹ ${service.name}`),
    el("h2", {}, endpoint.name, " ", el("a.close", { href: link(service.name), "aria-label": "Close" }, "×")),
    definitions("dl.facts", lines.filter(Boolean)),
    metadataView(endpoint.metadata),
    schemaView("Request schema", endpoint.metadata[REQUEST_SCHEMA]),
    schemaView("Response schema", endpoint.metadata[RESPONSE_SCHEMA])];
}

function schemaView(title, text) {
  return text === undefined ? null
    : el("details", { key: title }, el("summary", {}, title), el("pre", { tabindex: "0" }, pretty(text)));
}

function typedRequest() {
  return { subject: $("subject").value, data: shown.form.payload(), headers: headersOf($("headers").value),
    timeout: Number($("timeout").value) };
}

async function submit(event) {
  event.preventDefault();
  if (shown === null || $("send").disabled) return;
  $("send").disabled = true;
  const asked = shown;
  const outcome = await send(typedRequest(), asked.service);
  if (asked === shown) {
    asked.form.showErrors(outcome);
    showReply(outcome);
  }
  $("send").disabled = false;
}

async function copy() {
  const command = toCommand(typedRequest(), server);
  let note = "Copied";
  try {
    await navigator.clipboard.writeText(command);
  } catch {
    note = "This browser does not let the page copy. The command is:"; // without HTTPS, say
  }
  show($("command"), el("span", {}, note), el("pre", { tabindex: "0", "aria-label": "Command" }, command));
  $("command").hidden = false;
}

$("ask").addEventListener("submit", submit);
$("copy").addEventListener("click", copy);
$("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});
$("panel").addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("facts").querySelector(".close").click();
});
