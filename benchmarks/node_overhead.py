"""How much of a unit's time is not training?

A real gateway in a process of its own, a conductor in this one (merging while the node waits, so that it is no part of
a unit), and a real node that pulls patches, trains, compresses, signs and sends over HTTP on this machine. Each unit is
split by what the node says of itself. After each, the same steps are done once more by a plain loop around AdamW that
knows nothing of nodes: the peer.

    unit = lease + pull + steps + compress and store + upload

One node does all units of a length, so that connections, tables and pages of memory are as warm as they are on a
volunteer's machine. ``--steps`` sets the length of a unit: by default the demo's 12, and what the shipped run has.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from report import arguments, finish, heading
from torch import nn

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.corpora import corpus_of
from barnraise.releases.repository import Repository
from barnraise.run_folder import RunFolder
from contributor.events import Finished, Leased, NodeEvent, Pulled, Received
from contributor.run import NodeConfig, run_node
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer
from coordinator.conductor.conductor import Conductor
from coordinator.conductor.desk import Desk
from coordinator.conductor.pool import InlinePool
from coordinator.publish import Publisher
from coordinator.run_setup import open_run, prepare_run
from merge.architectures import build

SHIPPED = Path(__file__).parent.parent / "configs" / "runs" / "stdlib-lm.toml"
PHASES = ("lease", "pull", "steps", "compress, store", "upload")
CLOCKS = ("wall", "processor")
SMALL_TEST = '{ name = "loss-text", kind = "loss", shard = "text", examples = 8, margin = 9.0 }'  # not what is measured
TICKS_MAX = 2000


@dataclass
class Stopwatch:
    """When a node said what, in one unit: by the wall's clock, and in seconds of processor time of this process."""

    began: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))
    marks: dict[str, tuple[float, float]] = field(default_factory=dict)
    steps: list[tuple[float, float]] = field(default_factory=list)

    def mark(self, event: NodeEvent) -> None:
        self.marks.setdefault(event.kind, (time.perf_counter(), time.process_time()))

    def phases(self, clock: int) -> dict[str, float]:
        """Seconds of each phase: of the wall for 0, of the processor for 1."""
        at = {kind: mark[clock] for kind, mark in self.marks.items()}
        stepping = sum(took[clock] for took in self.steps)
        return {
            "lease": at[Leased.kind] - self.began[clock],
            "pull": at[Pulled.kind] - at[Leased.kind],
            "steps": stepping,
            "compress, store": at[Finished.kind] - at[Pulled.kind] - stepping,
            "upload": at[Received.kind] - at[Finished.kind],
        }


@dataclass(frozen=True)
class Coordinator:
    """A run with one contributor: every update makes a release."""

    conductor: Conductor

    def merge(self) -> None:
        """Until the next round is open."""
        before = len(self.conductor.ledger.releases())
        for _ in range(TICKS_MAX):
            self.conductor.tick(0.0)
            current = self.conductor.ledger.current_round()
            if len(self.conductor.ledger.releases()) > before and current is not None and current.phase == "collecting":
                return
        raise RuntimeError("the round did not end")


def shipped_steps() -> int:
    """Of a unit."""
    return load_run_config(SHIPPED).training.steps


def config_of(root: Path, steps: int) -> Path:
    """The shipped run with units of so many steps, which one contributor can carry."""
    text = SHIPPED.read_text()
    text = text.replace(f"\nsteps = {shipped_steps()}\n", f"\nsteps = {steps}\n")
    text = text.replace("target_updates = 4", "target_updates = 1")
    text = text.replace("min_updates = 2", "min_updates = 1").replace("lease_for_s = 600", "lease_for_s = 7200")
    text = text.replace("collect_for_s = 600", "collect_for_s = 7200")
    text = text.replace('suite = "stdlib-lm"  # configs/acceptance/stdlib-lm.toml', f"tests = [{SMALL_TEST}]")
    text = text.replace("check_examples = 32", "check_examples = 8").replace("check_margin = 0.3", "check_margin = 9.0")
    path = root / "stdlib-lm.toml"
    path.write_text(text)
    return path


def plain(config: RunConfig, text: bytes, seed: int) -> tuple[float, float]:
    """Seconds that the same steps take in a plain loop, of the wall and of the processor."""
    task, module, training = ByteLMTask(config.model, text), build(config.model), config.training
    optimiser = torch.optim.AdamW(module.parameters(), lr=training.learning_rate, betas=(0.9, 0.99))
    began = time.perf_counter(), time.process_time()
    for step in range(training.steps):
        optimiser.zero_grad(set_to_none=True)
        found = task.loss(module, task.batch(seed, step, training.batch))
        mean = found.total / found.count
        mean.backward()
        nn.utils.clip_grad_norm_(module.parameters(), training.clip_grad_norm)
        optimiser.step()
        float(mean.detach())
    return time.perf_counter() - began[0], time.process_time() - began[1]


class Units:
    """Watches one node through its units; between two of them the coordinator merges, and the plain loop runs.

    Attributes:
        found: seconds of each phase and of the loop, of each unit but the first, which pulls a whole model.
    """

    def __init__(self, coordinator: Coordinator, config: RunConfig) -> None:
        self.found: dict[str, list[float]] = defaultdict(list)
        self._coordinator, self._config = coordinator, config
        self._text = corpus_of(config.data).text(next(iter(config.data.shards)), "train")
        self._watch, self._done = Stopwatch(), 0

    def heard(self, event: NodeEvent) -> None:
        """What the node says; it waits until this returns."""
        self._watch.mark(event)
        if isinstance(event, Received):
            self._coordinator.merge()
            if self._done:
                self._note(plain(self._config, self._text, self._done))
            self._done += 1
            self._watch = Stopwatch()

    def _note(self, loop: tuple[float, float]) -> None:
        for clock, name in enumerate(CLOCKS):
            phases = self._watch.phases(clock)
            for phase, seconds in phases.items():
                self.found[f"{name} {phase}"].append(seconds)
            self.found[f"{name} plain loop"].append(loop[clock])
            self.found[f"{name} not steps"].append(1 - phases["steps"] / sum(phases.values()))

    @contextmanager
    def timing_steps(self) -> Iterator[None]:
        """A node tells of steps, but not what they take of a processor."""
        step = Trainer.step

        def timed(trainer: Trainer) -> float:
            began = time.perf_counter(), time.process_time()
            loss = step(trainer)
            self._watch.steps.append((time.perf_counter() - began[0], time.process_time() - began[1]))
            return loss

        with patch.object(Trainer, "step", timed):
            yield


def measure(root: Path, steps: int, units: int) -> dict[str, list[float]]:
    """What :class:`Units` finds of one node that works for so many units of so many steps, and one before."""
    folder = RunFolder(root / "run")
    prepare_run(folder, config_of(root, steps))
    opened = open_run(folder)
    desk = Desk(folder.root, opened.config, opened.held_out_digest)
    publisher = Publisher(desk, opened.ledger, Repository.found(folder, opened.config.name, now_ms()), now_ms)
    conductor = Conductor(opened.config, opened.ledger, desk, publisher, InlinePool(), now_ms)
    conductor.recover()
    for _ in range(20):
        conductor.tick(0.0)
    command = [sys.executable, "-m", "coordinator.gateway", "--run", str(folder.root), "--parent", str(os.getpid())]
    gateway = subprocess.Popen(command)
    try:
        while not folder.address.exists():
            if gateway.poll() is not None:
                raise RuntimeError(f"the gateway ended with {gateway.returncode}")
            time.sleep(0.05)  # another process starts, and says so in that file only
        url = json.loads(folder.address.read_bytes())["url"]
        watched = Units(Coordinator(conductor), opened.config)
        with watched.timing_steps():
            run_node(NodeConfig(url, home=root / "nodes", key=root / "key"), watched.heard, max_units=units + 1)
    finally:
        gateway.kill()
        gateway.wait()
        opened.ledger.close()
    return watched.found


def table(results: dict[int, dict[str, list[float]]]) -> list[str]:
    columns = (*PHASES, "plain loop")
    lines = [f"| steps a unit | clock | {' | '.join(columns)} | not steps |", "|---" * (len(columns) + 3) + "|"]
    for steps, found in results.items():
        for clock in CLOCKS:
            cells = [f"{statistics.median(found[f'{clock} {name}']):.2f} s" for name in columns]
            shares = found[f"{clock} not steps"]
            cells.append(f"{statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})")
            lines.append(f"| {steps} | {clock} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = arguments(__doc__, quick="one length of a unit, two units")
    parser.add_argument("--steps", type=int, nargs="+", default=[12, shipped_steps()], help="lengths of a unit")
    parser.add_argument("--units", type=int, default=3, help="units of each length, beside the first")
    chosen: Any = parser.parse_args()
    lines = heading("What a node costs beside plain training", "torch", "numpy")
    lengths, units = ([chosen.steps[0]], 2) if chosen.quick else (chosen.steps, chosen.units)
    results = {}
    for steps in lengths:
        with tempfile.TemporaryDirectory() as root:
            results[steps] = measure(Path(root), steps, units)
    lines += [
        f"The run stdlib-lm (3.1M parameters, batch 8), {units} units of each length after a first one, by one node;",
        "medians, of the last column also least and most. The gateway is a process on the same machine; the conductor",
        "merges between units. *Not steps* is the share of a unit in which no step is taken.",
        f"{shipped_steps()} steps are the shipped run's unit, 12 the demo's. The processor's seconds are those of the",
        "node's process alone, and hardly depend on what else the machine does; the wall's do.",
        "",
        *table(results),
    ]
    finish("node_overhead", lines, write=chosen.write)


if __name__ == "__main__":
    main()
