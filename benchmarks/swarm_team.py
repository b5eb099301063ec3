"""What does averaging with a team cost, beside training the unit, and what does the sidecar need?

    python benchmarks/swarm_team.py [--quick] [--write]

Two and four members on this machine average vectors of two sizes, each through its own sidecar, with all that a node
does around it: stating and checking the probes, files, finding the group. Beside it, on the same machine: training one
unit of 12 steps with one thread, and the mean of the same vectors by numpy, in one process.
Members share two cores here, as they would not in life, so moving takes longer than on machines of their own; nothing
goes over a network. ``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report import arguments, finish, heading
from settings import TOPK_256
from sidecars import READY_S, cpu_s, memory_of

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.identity import Identity
from barnraise.protocol import Lease
from barnraise.swarm.process import Sidecar
from barnraise.swarm.team_key import TeamKey
from contributor.interrupt import Interrupt
from contributor.swarm.status import SwarmTally
from contributor.swarm.team_exchange import SidecarExchange
from contributor.swarm.teamwork import Averaged, Share, Teamwork
from contributor.tasks import make_task
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

LEASE_MS = 600_000
SIZES = {"0.2M": {"dim": 64, "layers": 3, "heads": 4, "hidden": 192, "context": 128}, "3.1M": {}}


@dataclass(frozen=True)
class Member:
    """One machine of a team."""

    sidecar: Sidecar
    work: Teamwork


@dataclass(frozen=True)
class Cost:
    """One average: seconds, CPU seconds of all sidecars, and what the largest of them holds alone while it runs."""

    seconds: float
    cpu_s: float
    held_bytes: int


def config_of(size: str) -> RunConfig:
    """The run of topk_256.toml, with a smaller model where that is wanted."""
    config = load_run_config(TOPK_256)
    model = config.model.model_copy(update=SIZES[size])
    return config.model_copy(update={"model": model})


def training_s(config: RunConfig) -> tuple[float, int]:
    """Seconds of one unit on one thread, and the elements of its change."""
    module = build(config.model)
    space = space_of(module)
    shard = next(iter(config.data.shards))
    unit = Unit(make_task(config.model, config.data, shard), space, flat_of(module, space), config.training, seed=1)
    trainer = Trainer(unit, torch.device("cpu"))
    began_s = time.perf_counter()
    while not trainer.done:
        trainer.step()
    return time.perf_counter() - began_s, space.size


@contextmanager
def team_of(count: int, root: Path) -> Iterator[list[Member]]:
    """So many members, whose sidecars are ready and know each other."""
    key = TeamKey(bytes(32)).secrets_for("bench", "team")
    with ExitStack() as stack:
        members: list[Member] = []
        for number in range(count):
            identity, folder = Identity.from_seed(bytes([number + 1] * 32)), root / str(number)
            folder.mkdir()
            first = members[0].sidecar.state.facts or {} if members else {}
            settings = {
                "host": {"bootstrap": first.get("addresses", [])},
                "member": identity.public,
                "access": key.access.hex(),
                "words": key.words.hex(),
            }
            sidecar = Sidecar("team", settings.copy, folder / "log", print)
            sidecar.start()
            stack.callback(sidecar.stop)
            assert sidecar.wait_ready(READY_S), sidecar.state.why
            exchange = SidecarExchange(sidecar, key, folder, identity.public, Interrupt(), lambda _said: None)
            members.append(Member(sidecar, Teamwork("bench", identity, exchange, now_ms, 60.0, SwarmTally("team"))))
        yield members


def lease_of(number: int, member: int) -> Lease:
    config, issued = config_of("3.1M"), now_ms()
    return Lease(
        lease_id=f"{number:016x}{member:016x}",
        contributor="0" * 64,
        round=number,
        base_version="0.1.0",
        base_digest="b3:" + "0" * 64,
        shard="text",
        seed=0,
        training=config.training,
        codec=config.update.codec,
        issued_at_ms=issued,
        expires_at_ms=issued + LEASE_MS,
    )


def average(members: list[Member], vectors: list[NDArray[np.float32]], number: int) -> Cost:
    """All of them at once, as when their units end together."""
    leases = [lease_of(number, place) for place in range(len(members))]
    for member, lease, vector_P in zip(members, leases, vectors, strict=True):
        exchange = member.work.exchange
        assert isinstance(exchange, SidecarExchange)
        exchange._begin(member.work._together(lease, len(vector_P)), lease.expires_at_ms)  # waits until it is told
    found: list[object] = [None] * len(members)

    def run(place: int) -> None:
        found[place] = members[place].work.average(Share(leases[place], vectors[place], 1000 + place, 8, 12))

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(members))]
    sidecars = [member.sidecar for member in members]
    before_s, began_s = sum(map(cpu_s, sidecars)), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began_s
    assert all(isinstance(one, Averaged) for one in found), found
    return Cost(took_s, sum(map(cpu_s, sidecars)) - before_s, max(map(held_by, members)))


def held_by(member: Member) -> int:
    """Bytes that the processes of its sidecar share with nobody."""
    return memory_of(member.sidecar)[0]


def numpy_mean_s(vectors: list[NDArray[np.float32]]) -> float:
    """The same mean in one process that has all the vectors."""
    began_s = time.perf_counter()
    np.average(vectors, axis=0, weights=[1000 + place for place in range(len(vectors))])
    return time.perf_counter() - began_s


def main() -> None:
    parser = arguments(__doc__, quick="the small model and two members, once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    repeats = 1 if options.quick else 3
    lines = heading("Averaging with a team", "numpy", "torch", "hivemind")
    lines += [
        "| parameters | members | training a unit | averaging, median | of training | CPU of all sidecars "
        "| held by one | numpy, one process |",
        "|---|---|---|---|---|---|---|---|",
    ]
    idle: list[int] = []
    for count in (2,) if options.quick else (2, 4):
        with tempfile.TemporaryDirectory() as root, team_of(count, Path(root)) as members:
            idle.append(max(map(held_by, members)))
            for number, size in enumerate(["0.2M"] if options.quick else SIZES):
                unit_s, elements = training_s(config_of(size))
                draws = np.random.default_rng(number)
                vectors = [draws.standard_normal(elements).astype(np.float32) for _ in range(count)]
                costs = [average(members, vectors, 1 + number * repeats + turn) for turn in range(repeats)]
                took_s = statistics.median(cost.seconds for cost in costs)
                lines.append(
                    f"| {elements:,} | {count} | {unit_s:.1f} s | {took_s:.1f} s | {took_s / unit_s:.0%} "
                    f"| {statistics.median(cost.cpu_s for cost in costs):.1f} s "
                    f"| {max(cost.held_bytes for cost in costs) / 2**20:.0f} MiB "
                    f"| {1000 * numpy_mean_s(vectors):.0f} ms |"
                )
    lines += [
        "",
        f"A sidecar with nothing to do holds {max(idle) / 2**20:.0f} MiB alone, the largest of them. About four "
        "seconds of every average are hivemind's finding of the group, whatever the size. CPU is of processes that "
        "live at the end of the average; averagers live on for 20 seconds.",
    ]
    finish("swarm_team", lines, write=options.write)


if __name__ == "__main__":
    main()
