// What pages can do with a script and need not: change the theme, copy a line, count time, stay fresh.
"use strict";

const asked = new Map(); // part of the page -> its HTML as it came

function each(selector, within, act) {
  within.querySelectorAll(selector).forEach(act);
}

// -- theme ---------------------------------------------------------------------------------

function themeButton() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
  const label = () => {
    button.textContent = current() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to the ${button.textContent.toLowerCase()} theme`);
  };
  const tell = () => {
    label();
    document.dispatchEvent(new Event("themechange"));
  };
  button.hidden = false;
  label();
  system.addEventListener("change", tell);
  button.addEventListener("click", () => {
    const next = current() === "dark" ? "light" : "dark";
    const isSystems = next === (system.matches ? "dark" : "light");
    if (isSystems) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (isSystems) localStorage.removeItem("barnraise-theme");
      else localStorage.setItem("barnraise-theme", next);
    } catch {
      // storage may be forbidden: then the choice lasts as long as the page
    }
    tell();
  });
}

// -- lines to copy ---------------------------------------------------------------------------

function copyButtons(within) {
  if (!navigator.clipboard) return;
  each("button[data-copy]", within, (button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  });
}

// -- times -----------------------------------------------------------------------------------

function ago(seconds) {
  const away = Math.abs(seconds);
  for (const [unit_s, unit] of [[31536000, "year"], [86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (away >= unit_s) {
      const count = Math.floor(away / unit_s);
      const said = `${count} ${unit}${count === 1 ? "" : "s"}`;
      return seconds >= 0 ? `${said} ago` : `in ${said}`;
    }
  }
  return away < 5 ? "just now" : seconds >= 0 ? `${Math.floor(away)} seconds ago` : `in ${Math.floor(away)} seconds`;
}

function left(seconds) {
  if (seconds <= 0) return "time is up";
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s left` : `${Math.floor(seconds)} s left`;
}

function countTimes() {
  const now = Date.now() + clockOffset;
  each("time[data-ago]", document, (time) => (time.textContent = ago((now - Date.parse(time.dateTime)) / 1000)));
  each("time[data-left]", document, (time) => (time.textContent = left((Date.parse(time.dateTime) - now) / 1000)));
}

// The server's clock counts; this machine's may be off.
let clockOffset = 0;

function readClock(within) {
  const made = Date.parse(within.querySelector("#made")?.dateTime);
  if (Number.isFinite(made)) clockOffset = made - Date.now();
}

// -- fresh parts -------------------------------------------------------------------------------

function remember() {
  each("[data-fresh]", document, (part) => asked.set(part.id, part.innerHTML));
}

async function refresh() {
  let answer;
  try {
    answer = await fetch(location.href, { headers: { accept: "text/html" } });
  } catch {
    return; // the server is away; the stream notices and comes back
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  readClock(fresh);
  each("[data-fresh]", document, (part) => {
    const other = fresh.getElementById(part.id);
    if (!other || other.innerHTML === asked.get(part.id) || part.contains(document.activeElement)) return;
    asked.set(part.id, other.innerHTML);
    const open = [...part.querySelectorAll("details")].map((details) => details.open);
    part.replaceChildren(...other.childNodes);
    part.querySelectorAll("details").forEach((details, index) => (details.open = open[index] ?? details.open));
    enhance(part);
  });
  document.dispatchEvent(new Event("freshpage"));
}

function follow() {
  const status = document.getElementById("live");
  if (!document.body.dataset.live || !window.EventSource) return;
  let due = 0;
  let source = null;
  const connect = () => {
    source = new EventSource(document.body.dataset.live);
    source.addEventListener("open", () => {
      status.textContent = "live";
      status.dataset.state = "live";
    });
    source.addEventListener("message", () => {
      clearTimeout(due);
      due = setTimeout(refresh, 400); // events come in bunches
    });
    source.addEventListener("error", () => {
      status.textContent = "not connected";
      status.dataset.state = "away";
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 30000);
    });
  };
  connect();
  addEventListener("pagehide", () => source.close());
}

function enhance(within) {
  copyButtons(within);
  countTimes();
}

themeButton();
readClock(document);
remember();
enhance(document);
setInterval(countTimes, 1000);
follow();
