"""Join a run: put a node together from a URL and a few choices, and let it work."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from barnraise.clock import now_ms
from barnraise.identity import usual_key
from barnraise.protocol import RunInfo
from barnraise.releases.durable import replace_file
from barnraise.swarm.blob_limits import Limits
from contributor.base import ReleasedBase
from contributor.comeback import Comeback
from contributor.consent import remember
from contributor.door import Door, agree_now, reach
from contributor.events import Joined, NodeEvent, Notice, Pulled, Received, Sent, Stopped
from contributor.folder import NodeFolder, state_home
from contributor.governor.governor import Governor
from contributor.governor.here import check_choices, govern
from contributor.interrupt import Interrupt, StopRequestedError
from contributor.live import Life, live
from contributor.node import Before, Node
from contributor.node_config import NodeConfig
from contributor.own_data import check_brought
from contributor.pacing import Pacing
from contributor.parts import Parts
from contributor.privacy.beginning import Privacy
from contributor.status import WHO_KILLS, read_status
from contributor.swarm.around import Swarm, swarming
from contributor.swarm.giving import Giving, allowed, giving
from contributor.swarm.node import SwarmNode
from contributor.swarm.status import SwarmTally
from contributor.training.devices import Plan, Seen, choose, look
from contributor.training.horizon import Tempo
from contributor.training.how import How

__all__ = ["NodeConfig", "run_node"]

KILLED = (
    "the node that worked here before was killed, or its machine went down; this one goes on from what is on the disk. "
    f"{WHO_KILLS}"
)


def run_node(
    config: NodeConfig,
    report: Callable[[NodeEvent], None],
    max_units: int | None = None,
    interrupt: Interrupt | None = None,
) -> int:
    """Work for a run until ``max_units`` units have receipts or ``interrupt`` says stop.

    Returns:
        units that got a receipt.

    Raises:
        BarnraiseError: something that waiting does not cure.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    check_choices(config.policies)
    seen = look()
    plan = choose(seen, config.device)
    interrupt = interrupt or Interrupt()
    report = _saying_what_ctrl_c_does(report, interrupt)
    try:
        door = reach(config, interrupt, report)
    except StopRequestedError:
        report(Stopped(0, "asked to stop"))
        return 0
    check_brought(door.info.data, config.own, _noted(report))
    url, key = door.patience.url, door.who.identity.public
    folder = NodeFolder.of(config.home or state_home(), door.info.name, key)
    consent, tally = agree_now(door, folder), SwarmTally(*config.swarm.parts)
    life = Life(folder, interrupt, report, now_ms, config.page, tally.now)
    with folder.lock(), live(life) as report:
        former = read_status(folder.status)
        replace_file(folder.url, f"{url}\n".encode())
        folder.remember_key(config.key or usual_key())
        if consent is not None:
            remember(folder.consent, consent, now_ms())
        report(Joined(door.info.name, url, door.name, key, str(folder.root)))
        if former is not None and not former.has_ended:
            report(Notice(KILLED))
        governor = govern(folder.root, _noted(report), config.policies)
        for said in _where_it_trains(seen, plan, config.device, url):
            report(Notice(said))
        units, reason = _worked(door, _Here(folder, plan, governor, tally), life, report, max_units)
        report(Stopped(units, reason))
    return units


def _where_it_trains(seen: Seen, plan: Plan, asked: str, url: str) -> list[str]:
    """The device and why, and each GPU that is none; who did not ask for the CPU is told how to find out the rest."""
    lacks = f"this says what it lacks: barnraise doctor {url}"
    if plan.device != "cpu":
        return [plan.reason, *(f"{why}; {lacks}" for why in seen.useless)]
    return [plan.reason if asked == "cpu" else f"{plan.reason}. If this machine has a GPU, {lacks}"]


@dataclass(frozen=True)
class _Here:
    """What this machine has for the node: a folder, a device to train on, policies, and a tally of the swarm."""

    folder: NodeFolder
    plan: Plan
    governor: Governor
    tally: SwarmTally


def _worked(
    door: Door, here: _Here, life: Life, report: Callable[[NodeEvent], None], max_units: int | None
) -> tuple[int, str]:
    """How many units got a receipt until the node stopped; and why it did, in words."""
    where, who, wanted = door.patience.where, door.who.identity, door.config.swarm
    among = SwarmNode(wanted, door.info, where, here.folder, who, door.name, report, here.tally, life.interrupt)
    with swarming(among) as swarm, _giving(swarm, here.governor, life.interrupt):
        shifts = _Shifts(door.info, lambda: _parts(door, here, swarm, report), here.governor)
        devices = tuple(torch.device(name) for name in (here.plan.device, *here.plan.others))
        comeback = Comeback(life, report, lambda: shifts.before.units, devices)
        reason = comeback.run(lambda: shifts.work(max_units))
    return shifts.before.units, reason


@dataclass
class _Shifts:
    """Nodes, one after the other: each begins from what is on the disk, in the place of one that crashed."""

    info: RunInfo
    parts: Callable[[], Parts]
    governor: Governor
    before: Before = field(default_factory=Before)

    def work(self, max_units: int | None) -> str:
        """Why the next one stopped, in words."""
        node = Node(self.info, self.parts(), self.before)
        try:
            return node.run(max_units)
        finally:
            self.before = node.handed_on()
            self.governor.remember()


def _parts(door: Door, here: _Here, swarm: Swarm, report: Callable[[NodeEvent], None]) -> Parts:
    """What the node is made of, on this machine."""
    folder, plan, governor = here.folder, here.plan, here.governor
    governor.training(int(getattr(door.info.model, "context", 1)))  # of what has no context an example is one thing
    tempo = Tempo(time.monotonic)
    wait = partial(door.patience.interrupt.wait, until_stop=True)
    down = Pacing(lambda: governor.wish().down_bytes_per_s, wait)
    return Parts(
        door.name,
        door.who.identity,
        door.client,
        ReleasedBase(door.patience.where, door.info, folder, down.after, swarm),
        folder,
        replace(door.patience, report=_counting(report, governor, tempo, swarm)),
        torch.device(plan.device),
        now_ms,
        advice=governor,
        how=How(autocast=plan.autocast, others=tuple(torch.device(name) for name in plan.others)),
        tempo=tempo,
        privacy=Privacy.of(folder, door.config.private, _noted(report)),
        change=door.config.change,
        card=door.who.card,
        own=door.config.own,
        swarm=swarm,
    )


def _giving(swarm: Swarm, governor: Governor, interrupt: Interrupt) -> AbstractContextManager[None]:
    """Around a node that gives blobs to others: its policies decide how fast, and hear of every byte."""
    if swarm.blobs is None:
        return nullcontext()

    def limits() -> Limits:
        return allowed(governor.wish(), paused=interrupt.paused)

    def moved(sent_bytes: int, received_bytes: int) -> None:
        governor.transferred(sent_bytes=sent_bytes, received_bytes=received_bytes)

    return giving(Giving(swarm.blobs, limits, moved, swarm.tally))


def _noted(report: Callable[[NodeEvent], None]) -> Callable[[str], None]:
    """A sentence to the owner, as an event."""
    return lambda told: report(Notice(told))


def _counting(
    report: Callable[[NodeEvent], None], governor: Governor, tempo: Tempo, swarm: Swarm
) -> Callable[[NodeEvent], None]:
    """``report``, which also tells the swarm of everything, and the governor of every transfer, for ``bandwidth``."""

    def also(event: NodeEvent) -> None:
        swarm.tell(event)
        if isinstance(event, Pulled):
            governor.transferred(received_bytes=event.fetched_bytes)
        elif isinstance(event, Sent):
            governor.transferred(sent_bytes=event.bytes)
        elif isinstance(event, Received):
            tempo.received()
        report(event)

    return also


def _saying_what_ctrl_c_does(report: Callable[[NodeEvent], None], interrupt: Interrupt) -> Callable[[NodeEvent], None]:
    """``report``, with a notice before the first event after the first Ctrl-C."""
    told = False

    def also(event: NodeEvent) -> None:
        nonlocal told
        if interrupt.finish and not interrupt.stop and not told:
            told = True
            report(Notice("finishing this unit, then stopping; Ctrl-C again stops at the next step"))
        report(event)

    return also
