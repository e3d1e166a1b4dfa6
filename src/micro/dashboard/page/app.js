// The page: polls the state of all services and shows it.

import { selection } from "./address.js";
import { el, show } from "./dom.js";
import { showEndpoint } from "./endpoint.js";
import { count, plural, total } from "./format.js";
import { listenToArrows } from "./keyboard.js";
import { problemsOf, remember } from "./problems.js";
import { search } from "./search.js";
import { emptyView, overview, serviceView } from "./service.js";
import { rememberRates, serviceList } from "./services.js";

const $ = (id) => document.getElementById(id);
let state = null; // the last answer of /api/state
let shownNames = []; // the selection on the page
let answers = true; // whether /api/state answered the last time

async function follow() {
  for (;;) {
    if (document.hidden) await new Promise((seen) => addEventListener("visibilitychange", seen, { once: true }));
    try {
      const response = await fetch("/api/state", { signal: AbortSignal.timeout(15_000) });
      const next = await response.json();
      if (next.looked_at_ms !== state?.looked_at_ms) {
        rememberRates(next);
        remember(next, state);
      }
      state = next;
      answers = true;
    } catch {
      answers = false;
    }
    render();
    await new Promise((over) => setTimeout(over, state?.interval_ms ?? 2000));
  }
}

function render() {
  shownNames = selection();
  const [name, endpointName, subject] = shownNames;
  const services = state?.services ?? [];
  const service = services.find((one) => one.name === name);
  const endpoint = service?.endpoints.find((one) => one.name === endpointName && one.subject === subject);
  const isOverview = name === undefined && services.length > 0;
  const matches = search(services, $("search").value);
  const problems = state === null ? [] : problemsOf(state);
  renderHead();
  show($("services"), serviceList(matches, { current: service, order: $("order").value, problems, isOverview }));
  show($("main"), el("a.back", { href: "#" }, "‹ Services"),
    service ? serviceView(service, endpoint, state, render)
      : isOverview ? overview(state, matches, problems, render) : emptyView(state, name));
  showEndpoint(service, endpoint, state);
  // Below 700 px, only this pane is shown.
  const isList = isOverview && location.hash !== "#overview";
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
  setText($("totals"), services.length === 0 ? "" : [plural(services.length, "service"),
    plural(instances.length, "instance"), `${count(total(instances, "requests_per_second"))} requests/s`].join(" · "));
  const problem = answers ? state?.problem
    : "The dashboard does not answer. What is shown is old; is `micro dashboard` still running?";
  $("problem").hidden = !problem;
  setText($("problem"), problem ?? "");
  document.body.classList.toggle("stale", !works);
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text; // else screen readers repeat the text
}

// The theme of the system, until the reader chooses one

function showTheme() {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setText($("theme"), dark ? "Light" : "Dark");
}

$("theme").addEventListener("click", () => {
  localStorage.setItem("theme", $("theme").textContent.toLowerCase());
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
$("search").addEventListener("input", render);
$("order").addEventListener("change", render);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the selection
  $("main").focus();
});
addEventListener("hashchange", () => {
  const [before] = shownNames;
  render();
  if (shownNames[0] !== before) $("main").scrollTop = 0;
});
listenToArrows();
showTheme();
follow();
