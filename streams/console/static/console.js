/* Renews what a page shows when the console says that something changed, and zooms graphs.
   Without it, and without scripts at all, every page can be read and every form sent. */
"use strict";

(() => {
  const state = document.getElementById("live-state");
  const say = (text) => { if (state) state.textContent = text; };
  const clock = () => new Date().toISOString().slice(11, 19) + " UTC";

  // what is open stays open when a part of the page is renewed
  let opened = new Set();
  document.addEventListener("htmx:beforeSwap", () => {
    opened = new Set([...document.querySelectorAll("details[open][id]")].map((one) => one.id));
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) {
      const found = document.getElementById(id);
      if (found) found.open = true;
    }
    say("renewed at " + clock());
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.assign("/sign-in?to=" + encodeURIComponent(location.pathname + location.search));
  });

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
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom-by]");
    if (!button) return;
    const graph = document.getElementById(button.getAttribute("aria-controls"));
    if (!graph) return;
    const at = STEPS.indexOf(graph.dataset.zoom || "100") + Number(button.dataset.zoomBy);
    graph.dataset.zoom = STEPS[Math.min(Math.max(at, 0), STEPS.length - 1)];
    say("graph at " + graph.dataset.zoom + " %");
  });
  for (const tools of document.querySelectorAll("[data-needs-script]")) tools.hidden = false;
  document.addEventListener("htmx:afterSwap", () => {
    for (const tools of document.querySelectorAll("[data-needs-script]")) tools.hidden = false;
  });
})();
