"""What does a node lose when its threads spin at barriers, alone and beside the owner's work?

    python -m benchmarks.spinning [--quick] [--write]

A node trains the byte model on every processor at nice 19, in a session of its own. Its threads meet at barriers, where
the first looks for the others so many times (GOMP_SPINCOUNT) before it sleeps; 300,000 is what GNU OpenMP does by
itself. Ways take turns; beside them is a program that compresses on every processor without a break
(benchmarks/governor/job.py). Printed are medians, and the program's pace as a share of its pace alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.node_process import NodeProcess, started
from benchmarks.report import arguments, finish, heading
from contributor.spinning import LOOKS

JOB = Path(__file__).parent / "governor" / "job.py"
WAYS = {
    "300,000 (OpenMP's own)": {},
    "100,000": {"GOMP_SPINCOUNT": "100000"},
    f"{LOOKS:,} (a node's)": {"GOMP_SPINCOUNT": str(LOOKS)},
    "1,000": {"GOMP_SPINCOUNT": "1000"},
    "none (passive)": {"OMP_WAIT_POLICY": "passive"},
}
NODE = ("-c", "from benchmarks.spinning import node; node()")
Told = tuple[float, float]  # seconds a step on the wall, and of processors


def main() -> None:
    parser = arguments(__doc__, quick="one round of short turns")
    options = parser.parse_args()
    rounds, seconds = (1, 2.0) if options.quick else (5, 6.0)
    lines = heading("Threads that spin at barriers, alone and beside the owner's work", "torch")
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        file = Path(place) / "presence"
        file.touch()
        command = [sys.executable, str(JOB), "steady", str(seconds), str(file)]
        nodes = {way: stack.enter_context(started(NODE, {**os.environ, **environ})) for way, environ in WAYS.items()}
        alone: dict[str, list[Told]] = {way: [] for way in nodes}
        beside: dict[str, list[Told]] = {way: [] for way in nodes}
        pace: dict[str, list[float]] = {way: [] for way in nodes}
        for _ in range(rounds):
            free = _rate(command)
            for way, node in nodes.items():
                node.tell(f"{seconds}")
                alone[way].append(_told(node))
                node.tell(f"{seconds}")
                pace[way].append(_rate(command) / free)
                beside[way].append(_told(node))
    lines += [
        f"Medians of {rounds} rounds of {seconds:g} s each; the program's pace beside the node is a share of its pace",
        "alone in the same round. Both are in sessions of their own, so a node at nice 19 takes half.",
        "",
        "| looks before sleeping | a step alone | of processors | beside the program | of processors | its pace |",
        "|---|---|---|---|---|---|",
    ]
    for way in nodes:
        cells = [*_medians(alone[way]), *_medians(beside[way])]
        told = " | ".join(f"{value:.2f} s" for value in cells)
        lines.append(f"| {way} | {told} | {statistics.median(pace[way]):.0%} |")
    finish("spinning", lines, write=options.write)


def node() -> None:
    """A process that trains for so many seconds whenever it is told to, and prints what a step took."""
    import torch

    from benchmarks.governor.node import trainer

    os.nice(19)
    torch.set_num_threads(os.cpu_count() or 1)
    trains = trainer()
    trains.step()
    print("ready", flush=True)
    for line in sys.stdin:
        began_s, busy_s, steps = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began_s < float(line):
            trains.step()
            steps += 1
        each = (time.monotonic() - began_s) / steps, (time.process_time() - busy_s) / steps
        print(json.dumps(each), flush=True)


def _told(node: NodeProcess) -> Told:
    wall_s, busy_s = node.answer()
    return wall_s, busy_s


def _rate(command: list[str]) -> float:
    """Pieces a second that the owner's program gets done."""
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(json.loads(told)["rate"])


def _medians(told: list[Told]) -> list[float]:
    return [statistics.median(values) for values in zip(*told, strict=True)]


if __name__ == "__main__":
    main()
