// Arrow keys: up and down between the links of a pane, right and left between the panes.

const linksOf = (pane) => [...document.querySelectorAll(`${pane} a.go`)];

export function listenToArrows() {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const isField = event.target.matches("input, select, textarea");
    const isSearch = event.target.id === "search";
    if (event.key === "/" && !isField) focus(document.getElementById("search"), event);
    const move = isSearch && event.key !== "ArrowDown" ? undefined : moves[event.key];
    if (move && (isSearch || !isField)) move(event.target, event);
  });
}

const moves = {
  ArrowDown: (from, event) => step(from, event, 1),
  ArrowUp: (from, event) => step(from, event, -1),
  ArrowRight: open,
  ArrowLeft: back,
};

function step(from, event, by) {
  const pane = from.closest("nav, main")?.localName;
  if (!pane || from.matches(".scroll, button")) return; // a table scrolls
  const links = linksOf(pane);
  const at = links.indexOf(from);
  focus(at < 0 ? links[0] : links[at + by], event);
}

function open(from, event) {
  if (!from.matches("a.go")) return;
  const inList = from.closest("nav") && !from.matches(".hit");
  const focusMain = () => focus(linksOf("main")[0], event);
  if (inList && from.matches("[aria-current]")) return void focusMain();
  // The pane has its links once the address has changed.
  if (inList) addEventListener("hashchange", () => setTimeout(focusMain), { once: true });
  event.preventDefault();
  from.click();
}

function back(from, event) {
  if (from.closest("aside")) {
    event.preventDefault();
    document.querySelector("#facts .close").click();
  } else if (from.closest("main") && !from.matches(".scroll")) {
    focus(document.querySelector("nav a.go[tabindex='0']"), event);
  }
}

function focus(node, event) {
  if (!node) return;
  event.preventDefault();
  node.focus();
}
