"""Join a run: put a node together from a URL and a few choices, and let it work."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from barnraise import __version__
from barnraise.clock import now_ms
from barnraise.errors import RefusedError, UnknownFieldError, UnreachableError
from barnraise.identity import config_home
from barnraise.message import check_name
from barnraise.protocol import PROTOCOL_VERSION, RunInfo
from barnraise.releases.durable import replace_file
from barnraise.swarm.blob_limits import Limits
from contributor.base import ReleasedBase
from contributor.client import GatewayClient
from contributor.comeback import Comeback
from contributor.consent import Consent, agreed, consent_for, remember, require
from contributor.events import Joined, NodeEvent, Notice, Pulled, Received, Sent, Stopped
from contributor.first_use import FirstUse, first_use
from contributor.folder import NodeFolder, state_home
from contributor.governor.governor import Governor
from contributor.governor.here import check_choices, govern
from contributor.interrupt import Interrupt, StopRequestedError
from contributor.live import Life, live
from contributor.node import Before, Node
from contributor.own_data import OwnData, check_brought
from contributor.pacing import Pacing
from contributor.parts import Change, Parts, as_trained
from contributor.patience import Patience
from contributor.privacy.beginning import Privacy
from contributor.privacy.budget import Choice
from contributor.swarm.around import Swarm, swarming
from contributor.swarm.choice import SwarmChoice
from contributor.swarm.forwarding import forwarded
from contributor.swarm.giving import Giving, allowed, giving
from contributor.swarm.node import SwarmNode
from contributor.swarm.status import SwarmTally
from contributor.training.devices import Plan, choose, look
from contributor.training.horizon import Tempo
from contributor.training.how import How
from contributor.transport import base_url
from contributor.whereabouts import Whereabouts

__all__ = ["NodeConfig", "run_node"]


@dataclass(frozen=True)
class NodeConfig:
    """What a contributor decides.

    Attributes:
        url: of the coordinator.
        name: display name; made from the key when None.
        home: folder that holds the folders of nodes; the user's state folder when None.
        key: file of the signing key, made when missing; in the user's configuration folder when None.
        threads: CPU threads to train with; torch's own choice when None.
        give_up_after_s: of waiting for a silent coordinator; None waits for ever.
        policies: to load into the node's settings file, each as ``idle`` or ``idle=after_s=600``.
        page: serve a status page on this machine.
        agree: shows the owner what an update can tell, and asks; None where a program has decided.
        device: to train on, as :func:`contributor.training.devices.choose` has it.
        private: the privacy that is wanted of training; None for none.
        own: text to train on, for a run whose contributors bring theirs.
        change: from what training changed to what is sent.
        swarm: what to do with other nodes.
    """

    url: str
    name: str | None = None
    home: Path | None = None
    key: Path | None = None
    threads: int | None = None
    give_up_after_s: float | None = None
    policies: tuple[str, ...] = ()
    page: bool = False
    agree: Callable[[Consent], bool] | None = None
    device: str = "auto"
    private: Choice | None = None
    own: OwnData | None = None
    change: Change = as_trained
    swarm: SwarmChoice = field(default_factory=SwarmChoice)


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
    plan = choose(look(), config.device)
    interrupt = interrupt or Interrupt()
    report = _saying_what_ctrl_c_does(report, interrupt)
    try:
        door = _reached(config, interrupt, report)
    except StopRequestedError:
        report(Stopped(0, "asked to stop"))
        return 0
    check_brought(door.info.data, config.own, _noted(report))
    url, key = door.patience.url, door.who.identity.public
    folder = NodeFolder.of(config.home or state_home(), door.info.name, key)
    consent, tally = _agreed_now(door, folder), SwarmTally(*config.swarm.parts)
    life = Life(folder, interrupt, report, now_ms, config.page, tally.now)
    with folder.lock(), live(life) as report:
        replace_file(folder.url, f"{url}\n".encode())
        if consent is not None:
            remember(folder.consent, consent, now_ms())
        report(Joined(door.info.name, url, door.name, key, str(folder.root)))
        governor = govern(folder.root, _noted(report), config.policies)
        report(Notice(plan.reason))
        where, who = door.patience.where, door.who.identity
        among = SwarmNode(config.swarm, door.info, where, folder, who, door.name, report, tally, interrupt)
        with swarming(among) as swarm, _giving(swarm, governor, interrupt):
            here = _Here(folder, plan, governor)
            devices = tuple(torch.device(one) for one in (plan.device, *plan.others))
            shifts = _Shifts(door.info, lambda: _parts(door, here, swarm, report), governor)
            comeback = Comeback(life, report, lambda: shifts.before.units, devices)
            reason = comeback.run(lambda: shifts.work(max_units))
        report(Stopped(shifts.before.units, reason))
    return shifts.before.units


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


@dataclass(frozen=True)
class _Door:
    """A coordinator that was reached: what its run is, and who is at its door under which ``name``."""

    config: NodeConfig
    info: RunInfo
    client: GatewayClient
    patience: Patience
    who: FirstUse
    name: str


def _reached(config: NodeConfig, interrupt: Interrupt, report: Callable[[NodeEvent], None]) -> _Door:
    """Ask the coordinator for its run, however long that takes."""
    url = base_url(config.url)
    who = first_use(config.key or config_home() / "identity.key")
    name = check_name(config.name if config.name is not None else f"contributor-{who.identity.public[:8]}")
    where = Whereabouts(url)
    patience, client = Patience(where, interrupt, report, config.give_up_after_s), GatewayClient.following(where)
    elsewhere = forwarded(url, config.home or state_home(), who.identity.public)

    def ask() -> RunInfo:
        try:
            return _run_info(client, where.url)
        except UnreachableError:
            if elsewhere is not None and where.url != elsewhere:
                report(Notice(f"{url} does not answer; as a node here remembers, the coordinator moved to {elsewhere}"))
                where.move(elsewhere)
            raise

    return _Door(config, patience.ask(ask), client, patience, who, name)


def _agreed_now(door: _Door, folder: NodeFolder) -> Consent | None:
    """Ask the owner to agree, if that was not done before; what is to be remembered of it."""
    consent = consent_for(door.info, door.patience.url, door.config.swarm.parts)
    agree = door.config.agree
    if agree is None or agreed(folder.consent, consent):
        return None
    require(agree(consent), consent)
    return consent


@dataclass(frozen=True)
class _Here:
    """What this machine has for the node: its folder, a device to train on, and policies."""

    folder: NodeFolder
    plan: Plan
    governor: Governor


def _parts(door: _Door, here: _Here, swarm: Swarm, report: Callable[[NodeEvent], None]) -> Parts:
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


def _run_info(client: GatewayClient, url: str) -> RunInfo:
    """What the coordinator says of its run, or in words that this barnraise is of another version than it."""
    try:
        info = client.run_info()
    except UnknownFieldError as error:
        raise RefusedError(
            f"{url} describes its run in words that barnraise {__version__} does not know ({error}): it trains another "
            "architecture or other data than this version can, or is no coordinator. Nothing was trained. Upgrade with "
            "pip install -U 'barnraise[contributor]', or ask its operator which version the run needs"
        ) from error
    if info.protocol != PROTOCOL_VERSION:
        raise RefusedError(
            f"the coordinator speaks protocol {info.protocol}, this barnraise speaks {PROTOCOL_VERSION}; "
            "install the version that the run's page names"
        )
    return info
