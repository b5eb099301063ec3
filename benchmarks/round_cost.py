"""What does a round cost the coordinator: memory against the number of updates, and an update that comes too late?

    python benchmarks/round_cost.py [--quick] [--size N] [--write]

Updates of 64 of 4,096 against a base of 25 million parameters are merged by the conductor's own
functions, one segment after the other in one process, as a worker does it; each number of updates
in a process of its own. Memory is the peak of anonymous memory beyond what there was when
everything was imported, seen every 2 ms; blobs and models are mapped files and not in it. Then a
late update is compared with the change that was merged meanwhile: one release, then four. There
is no peer: the question is whether memory stays flat, and what a comparison adds to a round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from argparse import SUPPRESS
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from merge_speed import measure
from report import arguments, finish, heading

from barnraise.merge_config import MergeConfig
from barnraise.releases.store import BlobStore
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, TensorSpec, write_update
from barnraise.updates.scope import EVERYWHERE
from coordinator.conductor.desk import Desk
from coordinator.conductor.merging import Bench, MergeInput, MergeJob, assemble, measure_range, merge_range, range_plans
from coordinator.conductor.stale import measure_stale
from coordinator.ledger import ReleaseRow
from coordinator.models import ModelCache
from merge.compress import compress
from merge.measure import total
from merge.plan import plan_merge

CODEC = CodecConfig(name="topk", k=64)
COUNTS = (1, 4, 16)
STRATEGIES = ("mean", "median", "krum")
MISSED = (1, 4)


def bench_at(folder: Path, size: int) -> Bench:
    wide = 4096 if size >= 4096 * 512 else 512
    space = ParameterSpace.of([TensorSpec(f"layer.{n}.weight", (size // (8 * wide), wide)) for n in range(8)])
    return Bench(BlobStore(folder / "blobs"), ModelCache(folder / "models", space))


def generate(folder: Path, size: int, count: int) -> None:
    """A base and updates against it, some of whose rows learn more than others."""
    bench = bench_at(folder, size)
    draws = np.random.default_rng(0)
    base = bench.models.put(draws.standard_normal(bench.space.size, dtype=np.float32) * np.float32(0.02))
    found = []
    for _ in range(count):
        change_P = torch.from_numpy(draws.standard_normal(bench.space.size, dtype=np.float32) * np.float32(1e-3))
        segments, _ = compress(change_P, bench.space, CODEC)
        found.append(bench.blobs.put(write_update(bench.space, base, CODEC, segments, role="update")))
    (folder / "job.json").write_text(json.dumps({"base": base, "updates": found}))


def merge_round(bench: Bench, base: str, updates: list[str], strategy: str) -> dict[str, list[float]]:
    """Seconds and bytes of every step."""
    merge = MergeConfig.model_validate({"strategy": strategy})
    inputs = tuple(MergeInput(digest, 1.0) for digest in sorted(updates))
    job = MergeJob(base, inputs, None, merge, CODEC, EVERYWHERE)
    numbers = range(bench.space.segment_count)
    found: dict[str, Any] = {}

    def first() -> None:
        found["measured"] = total([part for n in numbers for part in measure_range(bench, job, n, n + 1)])
        found["plan"] = plan_merge(found["measured"], [1.0] * len(updates), job.rules)

    def second() -> None:
        plans = range_plans(bench.space, job, found["plan"], found["measured"])
        found["parts"] = [merge_range(bench, job, own) for own in plans]

    steps = {"measure": first, "merge": second, "assemble": lambda: assemble(bench, job, found["parts"])}
    return {name: [cost[0], float(cost[2])] for name, step in steps.items() for cost in [measure(step)]}


def compare_late(bench: Bench, updates: list[str], missed: int) -> dict[str, list[float]]:
    config = SimpleNamespace(gateway=SimpleNamespace(max_update_bytes=1 << 30))
    desk = SimpleNamespace(space=bench.space, private=bench.blobs, public=bench.blobs, config=config)
    rows = [SimpleNamespace(version=f"0.1.{n}", patch={"digest": updates[1 + n]}) for n in range(missed)]
    report: dict[str, Any] = {}

    def compare() -> None:
        report.update(measure_stale(cast(Desk, desk), updates[0], cast(list[ReleaseRow], rows)))

    seconds, _, extra_bytes = measure(compare)
    assert "overall" in report, report
    return {"compare": [seconds, float(extra_bytes)]}


def child(question: list[str]) -> dict[str, list[float]]:
    what, folder, size, count = question[0], Path(question[1]), int(question[2]), int(question[3])
    bench, job = bench_at(folder, size), json.loads((folder / "job.json").read_text())
    if what == "late":
        return compare_late(bench, job["updates"], count)
    return merge_round(bench, job["base"], job["updates"][:count], what)


def ask(what: str, folder: Path, size: int, count: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds and the most megabytes of every step, each time in a new process."""
    command = [sys.executable, __file__, "--child", what, str(folder), str(size), str(count)]
    answers = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeats)]
    print(f"{what} {count}: {answers[-1]}", file=sys.stderr, flush=True)
    return {
        step: (statistics.median(one[step][0] for one in answers), max(one[step][1] for one in answers) / 1e6)
        for step in answers[0]
    }


def table(folder: Path, size: int, repeats: int) -> list[str]:
    lines = [
        "| strategy | updates | measure s | MB | merge s | MB | assemble s | MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for strategy in STRATEGIES:
        for count in COUNTS:
            if strategy == "krum" and count < 4:
                continue
            found = ask(strategy, folder, size, count, repeats)
            cells = " | ".join(f"{seconds:.2f} | {megabytes:.0f}" for seconds, megabytes in found.values())
            lines.append(f"| {strategy} | {count} | {cells} |")
    lines += ["", "| late update, releases missed | s | MB |", "|---|---|---|"]
    for missed in MISSED:
        seconds, megabytes = ask("late", folder, size, missed, repeats)["compare"]
        lines.append(f"| {missed} | {seconds:.2f} | {megabytes:.0f} |")
    return lines


def main() -> None:
    parser = arguments(__doc__, quick="a small model, to see that everything runs")
    parser.add_argument("--size", type=int, help="parameters, instead of 25 million (quick: one million)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=4, help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(child(chosen.child)))
        return
    size = chosen.size or (1_048_576 if chosen.quick else 25_165_824)
    text = heading("Cost of a round", "torch", "numpy")
    text += [f"{size:,} parameters, {4e-6 * size:.0f} MB; top-k 64 of 4,096; anonymous memory beside mapped files.", ""]
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary), size, max(COUNTS))
        text += table(Path(temporary), size, chosen.repeats)
    finish("round_cost", text, write=chosen.write)


if __name__ == "__main__":
    main()
