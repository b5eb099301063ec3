"""How fast are the dense rules, beside a plain read of their inputs and beside Flower?

    python benchmarks/merge_speed.py [--peers PYTHON] [--quick] [--write]

K rows of P float32 lie in one memory-mapped file. Measured, one after the other and all over
again, so that a disturbance falls on everybody: a plain read of the rows, our rules with the
compiled loops and in plain torch, Flower's rules (in the environment of ``--peers``). Then the
trial of Krum's precision: does a rule choose the update that exact distances choose? ``--write``
leaves a dated file in results/.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer import Peer
from report import arguments, finish, heading
from torch import Tensor

from barnraise import native
from merge.elementwise import median, trimmed_mean, weighted_sum
from merge.gram import gram
from merge.strategies.distances import squares_between
from merge.strategies.krum import krum_order

LIARS, CHOSEN, DROP_SHARE = 3, 8, 0.2
PLAIN_REPEATS = 2  # seconds each, and no ratio rests on them
RULES = ("mean", "median", "trimmed mean", "krum", "multi-krum")


@dataclass
class Figures:
    """What was measured of one way to do one job."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    extra_bytes: int = 0

    def add(self, seconds: float, cpu_seconds: float, extra_bytes: int) -> None:
        self.seconds.append(seconds)
        self.cpu_seconds.append(cpu_seconds)
        self.extra_bytes = max(self.extra_bytes, extra_bytes)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def anonymous_bytes() -> int:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def measure(job: Callable[[], object]) -> tuple[float, float, int]:
    """Seconds, processor seconds, and the peak of anonymous memory beyond what there was before (seen every 2 ms)."""
    before = peak = anonymous_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    kept = job()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak = max(peak, anonymous_bytes())
    done.set()
    watcher.join()
    del kept
    return seconds, cpu_seconds, peak - before


def read(rows: list[Tensor]) -> None:
    """A sum of everything, on as many threads as the loops have."""

    def work(start: int, end: int) -> None:
        for row in rows:
            row[start:end].sum()

    native.spread(work, len(rows[0]), 1 << 14)


def krum(rows: list[Tensor], chosen: int) -> Tensor:
    factors = torch.zeros(len(rows))
    factors[krum_order(squares_between(gram(rows)), LIARS)[:chosen]] = 1 / chosen
    return weighted_sum(rows, factors)


def ours(rule: str, rows: list[Tensor]) -> Callable[[], object]:
    drop = int(DROP_SHARE * len(rows))
    return {
        "mean": lambda: weighted_sum(rows, torch.arange(100.0, 100 + len(rows)) / len(rows)),
        "median": lambda: median(rows),
        "trimmed mean": lambda: trimmed_mean(rows, drop),
        "krum": lambda: krum(rows, 1),
        "multi-krum": lambda: krum(rows, CHOSEN),
    }[rule]


@contextlib.contextmanager
def inputs(count: int, size: int) -> Iterator[Path]:
    """A file of weights that differ in their third digit."""
    draws = np.random.default_rng(0)
    base = draws.standard_normal(size, dtype=np.float32) * np.float32(0.02)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        with path.open("wb") as file:
            for _ in range(count):
                file.write((base + draws.standard_normal(size, dtype=np.float32) * np.float32(2e-4)).tobytes())
        yield path


def mapped(path: Path, count: int, size: int) -> list[Tensor]:
    table = np.memmap(path, np.float32, "c", shape=(count, size))  # copy on write: torch wants it writable
    return list(torch.from_numpy(table))


def speed(path: Path, count: int, size: int, repeats: int, flower: Peer | None) -> list[str]:
    rows = mapped(path, count, size)
    bound, mine, plain, theirs = Figures(), {}, {}, {}
    for rule in RULES:
        mine[rule], plain[rule], theirs[rule] = Figures(), Figures(), Figures()
        ours(rule, rows)()  # once without a clock
    for repeat in range(repeats):
        for rule in RULES:
            bound.add(*measure(lambda: read(rows)))
            mine[rule].add(*measure(ours(rule, rows)))
            if repeat < PLAIN_REPEATS:
                with native.disabled():
                    plain[rule].add(*measure(ours(rule, rows)))
            if flower is not None:
                answer = flower.ask(rule=rule, rows=str(path), count=count, size=size)
                theirs[rule].add(answer["seconds"], answer["cpu_seconds"], answer["extra_bytes"])
            latest = [f"{1e3 * found.seconds[-1]:.0f}" for found in (bound, mine[rule], theirs[rule]) if found.seconds]
            print(f"run {repeat + 1} of {repeats}, {rule}: {', '.join(latest)} ms", file=sys.stderr, flush=True)
    return table(bound, mine, plain, theirs, 4 * count * size)


def table(
    bound: Figures, mine: dict[str, Figures], plain: dict[str, Figures], theirs: dict[str, Figures], size_bytes: int
) -> list[str]:
    lines = [f"Plain read of the inputs: {cell(bound)} ms, {size_bytes / bound.median / 1e9:.1f} GB/s. Times are wall"]
    lines += ["(fastest; processor time) in ms, MB are anonymous memory beside the mapped inputs.", ""]
    lines += ["| rule | ours | of a read | MB | plain torch | Flower | MB | faster | less processor time |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for rule, here in mine.items():
        line = f"| {rule} | {cell(here)} | {here.median / bound.median:.2f} | {here.extra_bytes / 1e6:.0f} "
        line += f"| {cell(plain[rule])} | "
        peer = theirs[rule]
        if peer.seconds:
            faster = statistics.median(p / h for p, h in zip(peer.seconds, here.seconds, strict=True))
            less = statistics.median(p / h for p, h in zip(peer.cpu_seconds, here.cpu_seconds, strict=True))
            line += f"{cell(peer)} | {peer.extra_bytes / 1e6:.0f} | {faster:.1f}x | {less:.1f}x |"
        else:
            line += "not measured | - | - | - |"
        lines.append(line)
    return lines


def cell(figures: Figures) -> str:
    cpu = statistics.median(figures.cpu_seconds)
    return f"{1e3 * figures.median:.0f} ({1e3 * min(figures.seconds):.0f}; {1e3 * cpu:.0f})"


def scores_of(squares_KK: Tensor) -> np.ndarray[Any, Any]:
    near = len(squares_KK) - LIARS - 2
    return np.array([float(row.sort().values[1 : near + 1].sum()) for row in squares_KK])


def exact_squares(rows: np.ndarray[Any, Any]) -> Tensor:
    """Differences first, in float64: nothing cancels."""
    wide = torch.from_numpy(rows).to(torch.float64)
    return torch.stack([((wide - row) ** 2).sum(dim=1) for row in wide])


def rank_correlation(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])


def precision(count: int, size: int, trials: int, flower: Peer | None) -> list[str]:
    """Krum's choice against that of exact distances between the changes."""
    lines = [
        "| change / weights | rule | chooses as exact distances do | rank correlation of scores | takes the outlier |"
    ]
    lines += ["|---|---|---|---|---|"]
    for ratio, outlier in ((1e-3, 1.0), (1e-4, 1.0), (1e-3, 10.0), (1e-4, 10.0)):
        found: dict[str, list[tuple[bool, float, bool]]] = {"ours": [], "Flower": []}
        for trial in range(trials):
            draws = np.random.default_rng(trial)
            base = draws.standard_normal(size, dtype=np.float32)
            deltas = draws.standard_normal((count, size), dtype=np.float32) * np.float32(ratio)
            deltas[trial % count] *= np.float32(outlier)
            expected = scores_of(exact_squares(deltas))
            squares = squares_between(gram(list(torch.from_numpy(deltas))))
            answers = {"ours": (krum_order(squares, LIARS)[0], scores_of(squares))}
            if flower is not None:
                with tempfile.NamedTemporaryFile() as file:
                    (base + deltas).tofile(file.name)
                    said = flower.ask(rule="scores", rows=file.name, count=count, size=size, liars=LIARS)
                answers["Flower"] = (said["chosen"], np.array(said["scores"]))
            for name, (chosen, scores) in answers.items():
                right = chosen == int(expected.argmin())
                found[name].append((right, rank_correlation(scores, expected), chosen == trial % count))
        label = f"{ratio:g}" + (f", one {outlier:g} times larger" if outlier != 1 else "")
        for name, results in found.items():
            if results:
                right, correlations, taken = zip(*results, strict=True)
                line = f"| {label} | {name} | {sum(right)} of {trials} | {statistics.median(correlations):.3f} | "
                lines.append(line + (f"{sum(taken)} of {trials} |" if outlier != 1 else "- |"))
            else:
                lines.append(f"| {label} | {name} | not measured | - | - |")
    return lines


def main() -> None:
    parser = arguments(__doc__, quick="small sizes, to see that everything runs", peers="a Python that has Flower")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, help="elements of a row, instead of 25 million (quick: one million)")
    chosen = parser.parse_args()
    count, size, trial_size, trials = (16, 1_000_000, 20_000, 5) if chosen.quick else (16, 25_000_000, 250_000, 20)
    size = chosen.size or size
    torch.set_num_threads(1)  # the loops bring threads of their own; plain torch is measured on one
    flower = Peer(chosen.peers, "flower.py") if chosen.peers else None
    peer = f"Flower {flower.version}" if flower else "Flower not measured"
    text = heading("Speed and precision of the dense rules", "torch", "numpy", peer=peer)
    text += [f"{count} rows of {size:,} float32, medians of {chosen.repeats} interleaved runs.", ""]
    with inputs(count, size) as path:
        text += speed(path, count, size, chosen.repeats, flower)
    text += ["", f"## Krum's choice: {count} updates of {trial_size:,} elements, {LIARS} liars tolerated", ""]
    text += precision(count, trial_size, trials, flower)
    if flower is not None:
        flower.close()
    finish("merge_speed", text, write=chosen.write)


if __name__ == "__main__":
    main()
