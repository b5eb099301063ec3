"""What a node is doing and why, as one value that its events move on: for ``barnraise status``, the page, programs.

Pure: :meth:`NodeStatus.after` takes an event and the time. The shell that holds the newest
value (``Watch``) is asked from other threads, and keeps the last one on the disk for whoever
asks when no node runs. It is kept at the start and at every receipt as well, so that what a
killed node leaves is not the ending of the one before it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from barnraise.releases.durable import replace_file
from contributor.events import (
    Fate,
    Finished,
    Joined,
    Leased,
    Moved,
    NodeEvent,
    Notice,
    Pulled,
    Received,
    Resting,
    Sent,
    Step,
    Stopped,
    Waiting,
)
from contributor.swarm.status import SwarmStatus

__all__ = ["ENDS", "WHO_KILLS", "Curve", "NodeStatus", "Watch", "read_status"]

ENDS = frozenset({"stopped", "crashed"})
"""What a node does that said that it ends; one that was killed did not."""

WHO_KILLS = "If nobody did that, the system may have wanted its memory: journalctl -k | grep -i 'killed process'"

FATES_KEPT, NOTICES_KEPT, CURVE_MAX = 10, 10, 512


@dataclass(frozen=True, slots=True)
class Curve:
    """Losses of all steps of this process, thinned to at most 512 points.

    Attributes:
        losses: every ``stride``-th. seen: how many there were in all.
    """

    losses: tuple[float, ...] = ()
    stride: int = 1
    seen: int = 0

    def with_loss(self, loss: float) -> Curve:
        """One more step; with too many points every second one goes."""
        losses = (*self.losses, loss) if self.seen % self.stride == 0 else self.losses
        if len(losses) > CURVE_MAX:
            return Curve(losses[::2], self.stride * 2, self.seen + 1)
        return Curve(losses, self.stride, self.seen + 1)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node at one moment.

    Attributes:
        doing: starting, pulling, training, sending, waiting, resting, stopped or crashed; ``since_ms`` when it began.
        why: of waiting, resting and having stopped, in words; "" otherwise.
        asked: ``pause`` or ``finish`` or ``leave`` when a person has asked for it; "" otherwise.
        round, base_version, shard, step, steps, loss: of the unit that is being trained; 0 and "" without one.
        unit: of a loss.
        units, tokens: with a receipt, since the start. bytes_up, bytes_down: of updates and of bases.
        last_receipt: {"digest", "round", "at_ms"}; None before the first.
        fates: of the newest updates, {"digest", "state", "reason", "version", "at_ms"}, newest last.
        notices: the newest, {"at_ms", "text"}. page: address of the local status page, "" without.
        swarm: what other nodes do for this one, and it for them.
    """

    pid: int
    started_at_ms: int
    doing: str = "starting"
    why: str = ""
    since_ms: int = 0
    asked: str = ""
    run: str = ""
    url: str = ""
    name: str = ""
    contributor: str = ""
    folder: str = ""
    round: int = 0
    base_version: str = ""
    shard: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    unit: str = "bits per byte"
    curve: Curve = Curve()
    units: int = 0
    tokens: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    last_receipt: dict[str, Any] | None = None
    fates: tuple[dict[str, Any], ...] = ()
    notices: tuple[dict[str, Any], ...] = ()
    page: str = ""
    swarm: SwarmStatus = field(default_factory=SwarmStatus)

    def after(self, event: NodeEvent, at_ms: int) -> NodeStatus:
        """The status once ``event`` has happened."""
        match event:
            case Joined(run, url, name, contributor, folder):
                joined = replace(self, run=run, url=url, name=name, contributor=contributor, folder=folder)
                return joined.now("waiting", "asking for work", at_ms)
            case Moved(url, _, _):
                return replace(self, url=url)
            case Leased(_, number, version, shard, steps):
                leased = replace(self, round=number, base_version=version, shard=shard, steps=steps, step=0, loss=None)
                return leased.now("pulling", "", at_ms)
            case Pulled(_, fetched_bytes, _):
                return replace(self, bytes_down=self.bytes_down + fetched_bytes).now("training", "", at_ms)
            case Step(step, steps, loss, unit):
                trained = replace(self, step=step, steps=steps, loss=loss, unit=unit, curve=self.curve.with_loss(loss))
                return trained.now("training", "", at_ms)
            case Finished():
                return replace(self, tokens=self.tokens + event.tokens, step=0, steps=0).now("sending", "", at_ms)
            case Sent():
                return replace(self, bytes_up=self.bytes_up + event.bytes)
            case Received(digest, number):
                receipt = {"digest": digest, "round": number, "at_ms": at_ms}
                received = replace(self, units=self.units + 1, last_receipt=receipt)
                return received.now("waiting", "asking for work", at_ms)
            case Fate():
                fate = {**event.as_json(), "at_ms": at_ms}
                return replace(self, fates=(*self.fates, fate)[-FATES_KEPT:])
            case Notice(text):
                return replace(self, notices=(*self.notices, {"at_ms": at_ms, "text": text})[-NOTICES_KEPT:])
            case Waiting(reason):
                return self.now("waiting", reason, at_ms)
            case Resting(reason):
                return self.now("resting", reason, at_ms)
            case Stopped(_, reason):
                return self.now("stopped", reason, at_ms)
            case _:
                return self

    def now(self, doing: str, why: str, at_ms: int) -> NodeStatus:
        """Doing something, for some reason; since now, unless it did the same before."""
        since_ms = self.since_ms if doing == self.doing else at_ms
        return replace(self, doing=doing, why=why, since_ms=since_ms)

    @property
    def has_ended(self) -> bool:
        return self.doing in ENDS

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> NodeStatus | None:
        """What :meth:`as_json` gave; None for anything else."""
        try:
            curve = Curve(**{**value["curve"], "losses": tuple(value["curve"]["losses"])})
            lists = {name: tuple(value[name]) for name in ("fates", "notices")}
            swarm = SwarmStatus.from_json(value.get("swarm"))
            return cls(**{**value, **lists, "curve": curve, "swarm": swarm})
        except (TypeError, KeyError):
            return None


class Watch:
    """Holds the newest status. Events come from the node's thread, questions from others.

    Args:
        swarm: how the swarm is at the moment of a question; no event tells that.
    """

    def __init__(self, status: NodeStatus, swarm: Callable[[], SwarmStatus] = SwarmStatus) -> None:
        self._status, self._swarm = status, swarm
        self._lock = threading.Lock()

    @property
    def status(self) -> NodeStatus:
        with self._lock:
            return replace(self._status, swarm=self._swarm())

    def tell(self, event: NodeEvent, at_ms: int) -> None:
        with self._lock:
            self._status = self._status.after(event, at_ms)

    def set(self, **changes: Any) -> None:
        """Change fields that no event moves: ``page``, ``asked``."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def now(self, doing: str, why: str, at_ms: int) -> None:
        """Move on without an event: the node has ended."""
        with self._lock:
            self._status = self._status.now(doing, why, at_ms)

    def keep(self, path: Path) -> None:
        """Leave the status for whoever asks later, without the page's token. Nothing depends on it."""
        try:
            replace_file(path, json.dumps(replace(self.status, page="").as_json()).encode("ascii"))
        except OSError:
            return  # a node that ends because the disk is full must not fail for this


def read_status(path: Path) -> NodeStatus | None:
    """The last status of a node that has ended; None where there is none."""
    try:
        return NodeStatus.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return None
