"""Does it learn? Every arm of arms.py on the standard-library byte model, at equal training tokens.

    python -m benchmarks.convergence --quick            a small version, about a minute; nothing is left behind
    python -m benchmarks.convergence --full             the experiment, hours on a core; continues where it stopped
    python -m benchmarks.convergence --full --scale stable-90
                                                        the same at another length or schedule
    python -m benchmarks.convergence --demo             as few rounds as `barnraise demo`, some minutes
    python -m benchmarks.convergence --report           page and plot from the records of the experiment

Each finished run is one line of the records (``--records``), so a killed experiment loses one
run at most. Without matplotlib everything but the plot is made.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.convergence.arms import ARMS, DEMO, DEMO_ARMS, QUICK, QUICK_ARMS, SCALES, STABLE_30, Scale, arm_named
from benchmarks.convergence.report import all_figures, report
from benchmarks.convergence.schedule import Job, ceiling_of, next_job, whole_order
from benchmarks.convergence.simulate import run
from benchmarks.convergence.world import World

RESULTS = Path(__file__).parent.parent / "results"
Record = dict[str, Any]


def main() -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--quick", action="store_true")
    what.add_argument("--demo", action="store_true")
    what.add_argument("--full", action="store_true")
    what.add_argument("--report", action="store_true")
    parser.add_argument("--records", type=Path, default=RESULTS / f"convergence-{today}.jsonl")
    parser.add_argument("--arms", help="names, separated by commas, in the order in which they run; all by default")
    parser.add_argument("--seeds", type=int, help="at most this many")
    parser.add_argument("--scale", choices=tuple(SCALES), default=STABLE_30.name, help="of --full")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # the model is small: more threads gain nothing, and one gives the same bits everywhere
    scale, names = SCALES[chosen.scale], tuple(arm.name for arm in ARMS if not arm.past)
    if chosen.quick or chosen.demo:
        scale, names = (QUICK, QUICK_ARMS) if chosen.quick else (DEMO, DEMO_ARMS)
    names = tuple(chosen.arms.split(",")) if chosen.arms else names
    if past := [name for name in names if arm_named(name).past]:
        parser.error(f"{', '.join(past)} is in records and cannot be run any more; leave it out of --arms")
    world = World(scale)
    path = chosen.records if chosen.full or chosen.report else None
    records = [] if path is None or not path.exists() else [json.loads(line) for line in path.read_text().splitlines()]
    if not chosen.report:
        work_off(whole_order(names, chosen.seeds or scale.seeds), world, records, path)
    scales = (scale,) if path is None else tuple(SCALES.values())
    page = report(scales, records, today)
    print(page)
    if path is not None:
        path.with_suffix(".md").write_text(page)
        plot(scales, records, path.with_suffix(".png"))


def work_off(order: Sequence[tuple[str, int]], world: World, records: list[Record], path: Path | None) -> None:
    """Run what ``records`` lacks, appending to it and to the file at ``path``."""
    while (job := next_job(order, world.scale, records)) is not None:
        ours = [r for r in records if r["scale"] == world.scale.name]
        ceiling = ceiling_of(job.arm, world.scale, ours) if job.seed == 0 and job.arm.like is None else {}
        record = run(job.arm, job.tuning, job.seed, world, ceiling)
        records.append(record)
        if path is not None:
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")
        say(job, record)


def say(job: Job, record: Record) -> None:
    bits = f"{record['final_bits']:.4f}" if record["final_bits"] is not None else "given up"
    print(f"{job.arm.name} {job.tuning} seed {job.seed}: {bits}, {record['cpu_seconds']:.0f} s", flush=True)


def plot(scales: Sequence[Scale], records: Sequence[Record], path: Path) -> None:
    """Draw, where there is something to draw with."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"{path.name} is not drawn: it needs matplotlib")
        return
    from benchmarks.convergence.plot import draw

    arms = {scale.name: {r["arm"] for r in records if r["scale"] == scale.name} for scale in scales}
    drawn = [scale for scale in scales if len(arms[scale.name]) > 1]
    draw([(scale, all_figures(scale, records)) for scale in drawn], path)


if __name__ == "__main__":
    main()
