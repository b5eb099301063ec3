// The drawing of a family, larger and smaller, and moved by hand. Without this it can be scrolled.
"use strict";

(() => {
  const drawing = document.getElementById("family");
  const viewport = document.getElementById("viewport");
  if (!drawing || !viewport) return;
  const natural = { width: drawing.viewBox.baseVal.width, height: drawing.viewBox.baseVal.height };
  const LEAST = 0.05, MOST = 4, STEP = 1.25;
  let scale = 1;

  // Keeps what is below (x, y) of the viewport where it is.
  function zoom(to, x = viewport.clientWidth / 2, y = viewport.clientHeight / 2) {
    const next = Math.min(MOST, Math.max(LEAST, to));
    const left = (viewport.scrollLeft + x) / scale, top = (viewport.scrollTop + y) / scale;
    scale = next;
    drawing.setAttribute("width", natural.width * scale);
    drawing.setAttribute("height", natural.height * scale);
    viewport.scrollLeft = left * scale - x;
    viewport.scrollTop = top * scale - y;
  }

  function fit() {
    zoom(Math.min(1, viewport.clientWidth / natural.width, viewport.clientHeight / natural.height));
  }

  const acts = { in: () => zoom(scale * STEP), out: () => zoom(scale / STEP), fit };
  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", acts[button.dataset.zoom]));
  document.querySelector(".zoom").hidden = false;

  viewport.addEventListener("keydown", (event) => {
    const act = { "+": acts.in, "=": acts.in, "-": acts.out, "0": fit }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });

  viewport.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a plain wheel scrolls, as everywhere
    event.preventDefault();
    const place = viewport.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - place.left, event.clientY - place.top);
  }, { passive: false });

  let held = null;
  viewport.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType !== "mouse") return; // fingers scroll by themselves
    held = { x: event.clientX + viewport.scrollLeft, y: event.clientY + viewport.scrollTop, moved: false };
  });
  viewport.addEventListener("pointermove", (event) => {
    if (!held) return;
    const left = held.x - event.clientX, top = held.y - event.clientY;
    held.moved ||= Math.abs(left - viewport.scrollLeft) + Math.abs(top - viewport.scrollTop) > 4;
    if (!held.moved) return;
    viewport.classList.add("held");
    viewport.scrollTo({ left, top, behavior: "instant" });
  });
  addEventListener("pointerup", () => {
    if (held?.moved) addEventListener("click", (event) => event.preventDefault(), { capture: true, once: true });
    held = null;
    viewport.classList.remove("held");
  });
  viewport.addEventListener("dragstart", (event) => event.preventDefault());

  // Begin where the newest release is.
  const newest = (drawing.querySelector(".release") || drawing.querySelector("a"))?.getBBox();
  if (newest && newest.x + newest.width > viewport.clientWidth) {
    viewport.scrollLeft = newest.x + newest.width / 2 - viewport.clientWidth / 2;
  }
})();
