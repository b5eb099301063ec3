// Curves: what the server drew as a picture becomes one that can be read point by point and zoomed.
"use strict";

const plots = [];
let data = null;
let axis = "place";
let drawing = 0;

function colour(name) {
  const probe = document.createElement("span");
  probe.className = `ink-${name}`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function numbers(value) {
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : size >= 0.01 || size === 0 ? value.toFixed(3) : value.toPrecision(2);
}

// Columns of one curve: where, released, rejected. What was rejected may lie far off; then it is at the edge.
function columns(curve) {
  const x = curve.places.map((place) => (axis === "time" ? data.at_s[place] : place));
  const released = curve.values.map((value, index) => (data.accepted[curve.places[index]] ? value : null));
  let low = Infinity;
  let high = -Infinity;
  for (const value of released) {
    if (value !== null && value < low) low = value;
    if (value !== null && value > high) high = value;
  }
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const range = [low - room, high + room];
  const rejected = curve.values.map((value, index) =>
    data.accepted[curve.places[index]] ? null : Math.min(Math.max(value, range[0]), range[1]));
  return { columns: [x, released, rejected], range };
}

function crosses(ink) {
  return (plot, series, first, last) => {
    const context = plot.ctx;
    const reach = 4 * devicePixelRatio;
    context.save();
    context.strokeStyle = ink;
    context.lineWidth = 1.6 * devicePixelRatio;
    context.beginPath();
    for (let index = first; index <= last; index++) {
      const value = plot.data[series][index];
      if (value === null || value === undefined) continue;
      const x = plot.valToPos(plot.data[0][index], "x", true);
      const y = plot.valToPos(value, "y", true);
      context.moveTo(x - reach, y - reach);
      context.lineTo(x + reach, y + reach);
      context.moveTo(x + reach, y - reach);
      context.lineTo(x - reach, y + reach);
    }
    context.stroke();
    context.restore();
    return false;
  };
}

function said(curve, index) {
  const place = curve.places[index];
  const what = data.accepted[place] ? data.labels[place] : `${data.labels[place]}, rejected`;
  const when = new Date(data.at_s[place] * 1000).toISOString().slice(0, 16).replace("T", " ");
  return `${what}: ${numbers(curve.values[index])} ${curve.unit}, ${when} UTC`;
}

function options(holder, curve, range) {
  const grid = { stroke: colour("line"), width: 1 };
  const soft = colour("soft");
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const readout = holder.parentElement.querySelector("[data-readout]");
  const before = readout.textContent;
  return {
    width: holder.clientWidth,
    height: holder.clientHeight,
    legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false } },
    scales: { x: { time: axis === "time" }, y: { range: () => range } },
    axes: [
      { stroke: soft, grid, ticks: grid, font, size: 28, space: axis === "time" ? 70 : 56,
        ...(axis === "time" ? {} : {
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
          values: (_plot, ticks) => ticks.map((place) => data.labels[place] ?? ""),
        }) },
      { stroke: soft, grid, ticks: { show: false }, font, size: 52, space: 32 },
    ],
    series: [
      {},
      { stroke: colour("accent"), width: 2, spanGaps: true, points: { size: 4, space: 12, fill: colour("accent") } },
      { paths: () => null, points: { show: crosses(colour("bad")) } },
    ],
    hooks: {
      setCursor: [(plot) => {
        const index = plot.cursor.idx;
        readout.textContent = index === null || index === undefined ? before : said(curve, index);
      }],
    },
  };
}

function draw(holder) {
  const curve = data.curves.find((one) => one.name === holder.dataset.curve);
  if (!curve || curve.places.length < 2) return;
  const found = columns(curve);
  const readout = holder.parentElement.querySelector("[data-readout]");
  readout.textContent = readout.dataset.readout;
  holder.replaceChildren();
  const plot = new uPlot(options(holder, curve, found.range), found.columns, holder);
  plots.push({ holder, plot });
}

// One curve a frame, the first one at once. The measures are what benchmarks/web_curve.py reads: until the frame with
// it is on the screen.
function drawAll() {
  performance.mark("curves-begin");
  plots.splice(0).forEach(({ plot }) => plot.destroy());
  const waiting = [...document.querySelectorAll("[data-curve]")];
  const count = waiting.length;
  const mine = ++drawing;
  const next = () => {
    if (mine !== drawing || waiting.length === 0) return;
    draw(waiting.shift());
    const done = waiting.length === 0 ? "curves-painted" : waiting.length === count - 1 ? "curve-painted" : "";
    requestAnimationFrame(() => {
      if (done) setTimeout(() => performance.measure(done, "curves-begin"));
      next();
    });
  };
  next();
}

async function load() {
  let answer;
  try {
    answer = await fetch("/data/curves.json");
  } catch {
    return; // the picture stays
  }
  if (!answer.ok) return;
  const fresh = await answer.json();
  if (data && fresh.labels.length === data.labels.length && document.querySelector("[data-curve] .uplot")) return;
  data = fresh;
  drawAll();
}

document.querySelectorAll("button[data-axis]").forEach((button, _index, all) => {
  button.closest("[hidden]")?.removeAttribute("hidden");
  button.addEventListener("click", () => {
    axis = button.dataset.axis;
    all.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    if (data) drawAll();
  });
});
addEventListener("resize", () => plots.forEach(({ holder, plot }) =>
  plot.setSize({ width: holder.clientWidth, height: holder.clientHeight })));
document.addEventListener("themechange", () => data && drawAll());
document.addEventListener("freshpage", load);
load();
