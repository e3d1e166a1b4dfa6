// The page of the AsyncAPI document of a service, or of all services.

import { definitions, el, show } from "./dom.js";

const main = document.getElementById("main");
const query = location.search;

/** Return the payload of the message that a reference to a channel names, as text. */
function payload(found, target) {
  const [, , channel, , part] = target.split("/");
  const name = found.channels[channel].messages[part].$ref.split("/").at(-1);
  const { contentType, payload: schema, summary } = found.components.messages[name];
  const text = schema ? JSON.stringify(schema, null, 2) : summary ?? "any bytes";
  return [contentType ? `${contentType}\n` : "", text].join("");
}

function operation(found, key) {
  const { channel, description, messages, reply } = found.operations[key];
  const address = found.channels[channel.$ref.split("/").at(-1)].address;
  return el("section", { key },
    el("h3", {}, key),
    description ? el("p.description", {}, description) : null,
    definitions("dl", [
      ["Subject", el("code", {}, address)],
      ["Request", el("pre", {}, payload(found, messages[0].$ref))],
      ...(reply ? [["Answer", el("pre", {}, payload(found, reply.messages[0].$ref))]] : []),
    ]));
}

function schema(found, name) {
  return el("section", { key: name },
    el("h3", {}, name), el("pre", {}, JSON.stringify(found.components.schemas[name], null, 2)));
}

async function load() {
  const response = await fetch(`/api/asyncapi.json${query}`);
  if (!response.ok) return show(main, el("p", { role: "alert" }, await response.text()));
  const found = await response.json();
  document.title = `API of ${found.info.title}`;
  show(main,
    el("h2", {}, found.info.title, " ", el("span.tag", {}, found.info.version)),
    found.info.description ? el("p.description", {}, found.info.description) : null,
    el("p", {},
      el("a", { href: `/api/asyncapi.json${query}`, download: `${found.info.title}.json` },
        "Download the AsyncAPI document"), " · ", el("a", { href: "/" }, "Dashboard")),
    Object.keys(found.operations).map((key) => operation(found, key)),
    el("h2", {}, "Schemas"),
    Object.keys(found.components.schemas).map((name) => schema(found, name)));
}

load();
