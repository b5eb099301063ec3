"""How fast is a curve of 10,000 releases on the screen, and the pages of a run that has them made?

A ledger of that many releases with six tests each, served by a gateway on this machine; Chromium opens the first page.
Painted: from the moment the numbers are there until the frame with the curve is done. Beside it the same numbers as
one SVG line, as a page without a library would draw them, and as the server draws it, thinned to 400 points.
"""

from __future__ import annotations

import gzip
import statistics
import sys
import tempfile
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import Browser
from report import arguments, finish, heading
from turns import Job, seconds

from barnraise.config import bundled_config, load_run_config
from barnraise.digest import digest_bytes
from barnraise.identity import Identity
from barnraise.releases.repository import Repository
from barnraise.run_folder import RunFolder
from browser import chromium, serving, visit
from coordinator.gateway import GatewayState
from coordinator.ledger import Ledger
from coordinator.ledger.events import ReleaseTagged, RunCreated
from web_pages import Pages

START_MS = 1_790_000_000_000
TESTS = ("loss-concurrency", "loss-text", "loss-tools", "loss-system", "next-byte")
BATCH = 500
SVG_LINE = """
async ([url, copies]) => {
  const data = await (await fetch(url)).json();
  const curve = data.curves[0];
  const low = Math.min(...curve.values), high = Math.max(...curve.values);
  const begin = performance.now();
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 1000 200");
  for (let copy = 0; copy < copies; copy++) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const last = curve.places.length - 1;
    line.setAttribute("points", curve.values.map((value, index) =>
      `${1000 * index / last},${200 - 200 * (value - low) / (high - low)}`).join(" "));
    line.setAttribute("fill", "none");
    line.setAttribute("stroke", "black");
    svg.append(line);
  }
  document.querySelector("main").prepend(svg);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begin;
}
"""
PAINTED = """
() => new Promise((done) => {
  const look = () => {
    const found = ["curve-painted", "curves-painted"].map((name) => performance.getEntriesByName(name)[0]);
    if (found.every(Boolean)) done(found.map((one) => one.duration));
    else setTimeout(look, 20);
  };
  look();
})
"""


def main() -> None:
    parser = arguments(__doc__, quick="1,000 releases, three times")
    chosen = parser.parse_args()
    releases, times = (1000, 3) if chosen.quick else (10_000, 7)
    lines = heading("A curve of many releases", "playwright", "fastapi", "jinja2")
    with tempfile.TemporaryDirectory(prefix="barnraise-web-") as folder:
        state = _run_of(RunFolder(Path(folder) / "run"), releases)
        try:
            lines += [*_served(state, releases, times), "", *_painted(state, releases, times)]
        finally:
            state.ledger.close()
    finish("web_curve", lines, write=chosen.write)


def _run_of(folder: RunFolder, releases: int) -> GatewayState:
    """A run with so many releases and nothing else."""
    folder.create()
    config, ledger, draws = load_run_config(bundled_config("stdlib-lm")), Ledger.open(folder.ledger), Random(3)
    Repository.found(folder, config.name, START_MS)
    digest = digest_bytes(b"benchmark")
    ledger.record(
        RunCreated(config.name, config.digest, config.model_dump(mode="json"), "c" * 64, digest), at_ms=START_MS
    )
    parent: str | None = None
    for start in range(0, releases, BATCH):
        events = []
        for number in range(start, min(start + BATCH, releases)):
            rows = {name: _row(name, number, draws) for name in TESTS}
            version, at_ms = f"0.1.{number}", START_MS + number * 600_000
            events.append(
                ReleaseTagged(
                    version, parent, digest, digest, number, "patch" if parent else "first", "as before", None,
                    {"digest": digest, "size_bytes": 37_000}, None, at_ms, rows,
                )
            )  # fmt: skip
            parent = version
        ledger.record(*events, at_ms=START_MS)
    key = Identity.from_seed(b"k" * 32)
    return GatewayState(folder, config, ledger, key, lambda: START_MS + releases * 600_000)


def _row(name: str, number: int, draws: Random) -> dict[str, object]:
    mean = 2 + 2.6 / (1 + number / 300) + draws.gauss(0, 0.01)
    return {
        "mean": round(mean, 4), "base_mean": round(mean + 0.01, 4), "effect": -0.01, "low": -0.03, "high": 0.01,
        "confidence": 0.9, "p": 0.001, "passed": True, "unit": "bits/byte", "supported": True, "n": 48,
        "margin": 0.05, "method": "bootstrap", "better": "lower", "reason": f"{name} changed by -0.010",
    }  # fmt: skip


def _served(state: GatewayState, releases: int, times: int) -> list[str]:
    """What the server needs for a page, the first time and then."""
    lines = [
        f"Answers of the gateway, {releases:,} releases with {len(TESTS)} tests each, ms (median of {times}):",
        "",
        "| path | first | then | bytes | with gzip |",
        "|---|---:|---:|---:|---:|",
    ]
    for path in ("/", "/data/curves.json", "/releases", f"/releases?before={releases // 2}"):
        pages = Pages(state)

        def asked(pages: Pages = pages, path: str = path) -> int:
            return len(pages.get(path).body)

        first = _ms(asked)
        then = statistics.median(_ms(asked) for _ in range(times))
        body = pages.get(path).body
        lines.append(f"| `{path}` | {first:.0f} | {then:.0f} | {len(body):,} | {len(gzip.compress(body, 5)):,} |")
    return lines


def _painted(state: GatewayState, releases: int, times: int) -> list[str]:
    with serving(state) as url, chromium() as browser:
        turns = [(_ours(browser, url), _svg_lines(browser, url, 1), _svg_lines(browser, url, 6)) for _ in range(times)]
    rows = {
        "the first curve, by uPlot": [ours[0] for ours, _, _ in turns],
        "the same as one SVG line": [one for _, one, _ in turns],
        "all six curves, by uPlot, a frame each": [ours[1] for ours, _, _ in turns],
        "the same as six SVG lines": [six for _, _, six in turns],
    }
    return [
        f"{releases:,} points a curve, painted in Chromium, 1440 pixels wide, ms (of {times}):",
        "",
        "| what | median | fastest | slowest |",
        "|---|---:|---:|---:|",
        *(
            f"| {what} | {statistics.median(took):.0f} | {min(took):.0f} | {max(took):.0f} |"
            for what, took in rows.items()
        ),
        "",
        "The goal is 200 ms for a curve. SVG lines cannot be read point by point, nor zoomed.",
    ]


def _ours(browser: Browser, url: str) -> tuple[float, float]:
    """Until the first curve is on the screen, and until all are."""
    with visit(browser, url) as seen:
        first, last = seen.page.evaluate(PAINTED)
        return float(first), float(last)


def _svg_lines(browser: Browser, url: str, copies: int) -> float:
    with visit(browser, f"{url}/releases") as seen:
        return float(seen.page.evaluate(SVG_LINE, ["/data/curves.json", copies]))


def _ms(work: Job) -> float:
    return 1000 * seconds(work)[0]


if __name__ == "__main__":
    main()
