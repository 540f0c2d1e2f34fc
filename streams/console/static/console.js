/* Renews what a page shows when the console says that something changed; zooms, pans, folds and
   expands graphs.
   Without it, and without scripts at all, every page can be read and every form sent. */
"use strict";

(() => {
  const state = document.getElementById("live-state");
  const say = (text) => { if (state) state.textContent = text; };
  const clock = () => new Date().toISOString().slice(11, 19) + " UTC";

  // what is open stays open when a part of the page is renewed
  let opened = new Set();
  let graphs = [];
  document.addEventListener("htmx:beforeSwap", () => {
    opened = new Set([...document.querySelectorAll("details[open][id]")].map((one) => one.id));
    graphs = [...document.querySelectorAll(".graph[id]")].map((one) => ({
      id: one.id, zoom: one.dataset.zoom, expanded: one.dataset.expanded,
      left: one.scrollLeft, top: one.scrollTop, focused: document.activeElement === one,
    }));
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) {
      const found = document.getElementById(id);
      if (found) found.open = true;
    }
    for (const { id, zoom, expanded, left, top, focused } of graphs) {
      const graph = document.getElementById(id);
      if (!graph) continue;
      if (zoom) graph.dataset.zoom = zoom;
      expand(graph, expanded === "true");
      graph.scrollTo(left, top);
      if (focused) graph.focus({ preventScroll: true });
    }
    say("renewed at " + clock());
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.assign("/sign-in?to=" + encodeURIComponent(location.pathname + location.search));
  });

  // on a phone the navigation is a row that scrolls: where one is, is in sight
  document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  let waiting = false;
  const renew = () => {
    if (document.hidden) { waiting = true; return; }
    waiting = false;
    // nobody's choice is taken away while they make it
    const live = document.getElementById("live");
    const within = live && live.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
    if (live && !within) document.body.dispatchEvent(new CustomEvent("tw-changed"));
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting) renew(); });

  if (document.getElementById("live") && window.EventSource) {
    const source = new EventSource("/events");
    source.addEventListener("open", () => say("live"));
    source.addEventListener("error", () => say("not live: the console does not answer"));
    source.addEventListener("changed", renew);
  }

  const STEPS = ["50", "75", "100", "150", "200", "300"];
  const zoom = (graph, by) => {
    const before = graph.dataset.zoom || "100";
    const at = STEPS.indexOf(before) + by;
    const after = STEPS[Math.min(Math.max(at, 0), STEPS.length - 1)];
    // what is in the middle stays there
    const middle = (start, shown) => (start + shown / 2) * (Number(after) / Number(before)) - shown / 2;
    const left = middle(graph.scrollLeft, graph.clientWidth);
    const top = middle(graph.scrollTop, graph.clientHeight);
    graph.dataset.zoom = after;
    graph.scrollTo(left, top);
    say("graph at " + after + " %");
  };
  const expand = (graph, expanded) => {
    graph.dataset.expanded = String(expanded);
    for (const button of document.querySelectorAll("[data-expands]")) {
      if (button.getAttribute("aria-controls") === graph.id) button.setAttribute("aria-expanded", String(expanded));
    }
  };
  // a link of its own folds it; this keeps the page, and what has the focus, where they are
  document.addEventListener("click", (event) => {
    const fold = event.target.closest("[data-fold]");
    if (!fold || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const address = fold.getAttribute("href");
    htmx.ajax("GET", address.split("#")[0], { target: "#live", select: "#live", swap: "outerHTML" }).then(() => {
      history.replaceState(null, "", address);
      const open = document.getElementById(fold.id)?.getAttribute("aria-expanded");
      say(open === "true" ? "unfolded" : open === "false" ? "folded" : "graph drawn anew");
    });
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom-by], [data-expands]");
    const graph = button && document.getElementById(button.getAttribute("aria-controls"));
    if (!graph) return;
    if (button.dataset.zoomBy) zoom(graph, Number(button.dataset.zoomBy));
    else expand(graph, graph.dataset.expanded !== "true");
  });
  document.addEventListener("keydown", (event) => {
    const graph = event.target.closest(".graph");
    if (!graph || event.ctrlKey || event.metaKey || event.altKey) return;
    // the browser itself scrolls by arrow keys
    if (event.key === "+" || event.key === "=") zoom(graph, 1);
    else if (event.key === "-") zoom(graph, -1);
    else return;
    event.preventDefault();
  });
  document.addEventListener("wheel", (event) => {
    const graph = event.target.closest(".graph");
    // a wheel alone scrolls, as everywhere
    if (!graph || !(event.ctrlKey || event.metaKey) || !event.deltaY) return;
    event.preventDefault();
    zoom(graph, event.deltaY < 0 ? 1 : -1);
  }, { passive: false });

  const MOVED = 4;
  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    drag = null;
    const graph = event.target.closest(".graph");
    // fingers scroll it without this
    if (!graph || event.pointerType !== "mouse" || event.button !== 0) return;
    drag = { graph, x: event.clientX, y: event.clientY, left: graph.scrollLeft, top: graph.scrollTop, moved: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag || !(event.buttons & 1)) return;
    const x = event.clientX - drag.x, y = event.clientY - drag.y;
    drag.moved = drag.moved || Math.hypot(x, y) > MOVED;
    if (drag.moved) drag.graph.scrollTo(drag.left - x, drag.top - y);
  });
  // neither text nor links are dragged out of a graph, and a drag follows no link
  document.addEventListener("dragstart", (event) => { if (event.target.closest(".graph")) event.preventDefault(); });
  document.addEventListener("click", (event) => {
    if (drag && drag.moved && event.target.closest(".graph")) { event.preventDefault(); event.stopPropagation(); }
    drag = null;
  }, true);
  for (const tools of document.querySelectorAll("[data-needs-script]")) tools.hidden = false;
  document.addEventListener("htmx:afterSwap", () => {
    for (const tools of document.querySelectorAll("[data-needs-script]")) tools.hidden = false;
  });
})();
