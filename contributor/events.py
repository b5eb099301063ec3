"""What a node tells whoever watches it: one frozen dataclass an event, in words or as JSON.

Texts that came from the coordinator are cut to one printable line before they reach a
terminal; as JSON they are complete, and escaped by the encoding itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

__all__ = [
    "Carried",
    "Fate",
    "Finished",
    "Joined",
    "Leased",
    "Moved",
    "NodeEvent",
    "Notice",
    "Pulled",
    "Received",
    "Resting",
    "Sent",
    "Step",
    "Stopped",
    "Waiting",
    "one_line",
]

LINE_MAX = 400


def one_line(text: str) -> str:
    """``text`` without control or invisible characters, at most 400 characters long."""
    shown = "".join(char if char.isprintable() else " " for char in text[: LINE_MAX + 1])
    return shown if len(shown) <= LINE_MAX else shown[: LINE_MAX - 2] + ".."


class NodeEvent(Protocol):
    """Anything a node reports."""

    kind: ClassVar[str]

    def line(self) -> str:
        """One line for a terminal."""

    def as_json(self) -> dict[str, Any]:
        """``event`` and the fields."""


@dataclass(frozen=True, slots=True)
class _Event:
    kind: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        return {"event": self.kind, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Joined(_Event):
    """Reached the coordinator and took the node's folder."""

    kind: ClassVar[str] = "joined"
    run: str
    url: str
    name: str
    contributor: str
    folder: str

    def line(self) -> str:
        return f"joined {one_line(self.run)} at {self.url} as {self.name} (key {self.contributor[:8]}); {self.folder}"


@dataclass(frozen=True, slots=True)
class Moved(_Event):
    """The coordinator was found elsewhere, and the node goes on there. ``reason`` says how that is known."""

    kind: ClassVar[str] = "moved"
    url: str
    before: str
    reason: str

    def line(self) -> str:
        return f"the coordinator has moved to {self.url}: {one_line(self.reason)}"


@dataclass(frozen=True, slots=True)
class Leased(_Event):
    kind: ClassVar[str] = "leased"
    lease_id: str
    round: int
    base_version: str
    shard: str
    steps: int

    def line(self) -> str:
        base, shard = one_line(self.base_version), one_line(self.shard)
        return f"round {self.round}: {self.steps} steps on {shard} from {base}"


@dataclass(frozen=True, slots=True)
class Pulled(_Event):
    """The base is here and verified; ``fetched_bytes`` is what that cost on the wire."""

    kind: ClassVar[str] = "pulled"
    version: str
    fetched_bytes: int
    model_bytes: int

    def line(self) -> str:
        return f"pulled {one_line(self.version)}: {self.fetched_bytes:,} bytes of a {self.model_bytes:,} byte model"


@dataclass(frozen=True, slots=True)
class Step(_Event):
    """One optimiser step. ``loss`` is in ``unit``, as the task has it; ``step`` counts from 1."""

    kind: ClassVar[str] = "step"
    step: int
    steps: int
    loss: float
    unit: str = "bits per byte"

    def line(self) -> str:
        return f"step {self.step}/{self.steps}: {self.loss:.3f} {one_line(self.unit)}"


@dataclass(frozen=True, slots=True)
class Finished(_Event):
    """A unit is trained and its update is on this disk, to be sent. ``seconds`` is what training took.

    ``busy`` is the share of ``device``, ``GPU`` or ``CPU``, that training kept busy; None where nothing tells.
    """

    kind: ClassVar[str] = "finished"
    digest: str
    round: int
    base_version: str
    shard: str
    steps: int
    tokens: int
    seconds: float
    loss_first: float
    loss_last: float
    device: str = ""
    busy: float | None = None

    def line(self) -> str:
        busy = "" if self.busy is None else f", {self.device} {self.busy:.0%} busy"
        return (
            f"unit for round {self.round} done in {self.seconds:,.1f} s: {self.steps} steps, {self.tokens:,} tokens, "
            f"loss {self.loss_first:.3f} -> {self.loss_last:.3f}{busy}"
        )


@dataclass(frozen=True, slots=True)
class Sent(_Event):
    """All bytes of an update went out. ``dense_bytes`` is the same change in float32."""

    kind: ClassVar[str] = "sent"
    digest: str
    bytes: int
    dense_bytes: int
    loss_first: float
    loss_last: float

    def line(self) -> str:
        ratio = self.dense_bytes / max(self.bytes, 1)
        return (
            f"sent {self.digest[3:13]}: {self.bytes:,} bytes, {ratio:.0f} times fewer than dense; "
            f"training loss {self.loss_first:.3f} -> {self.loss_last:.3f}"
        )


@dataclass(frozen=True, slots=True)
class Received(_Event):
    """The coordinator's signed receipt is here: the update will not be lost."""

    kind: ClassVar[str] = "received"
    digest: str
    round: int

    def line(self) -> str:
        return f"round {self.round}: receipt for {self.digest[3:13]}"


@dataclass(frozen=True, slots=True)
class Carried(_Event):
    """A unit's work is in another update than was said: in the team's, or in its own after all."""

    kind: ClassVar[str] = "carried"
    digest: str
    by: str
    reason: str

    def line(self) -> str:
        return f"{self.digest[3:13]} goes as {self.by[3:13]}: {one_line(self.reason)}"


@dataclass(frozen=True, slots=True)
class Fate(_Event):
    """What became of an earlier update: merged, unmerged, rejected, reverted, refused or unknown.

    Attributes:
        version: the release that holds it; None where none does.
    """

    kind: ClassVar[str] = "fate"
    digest: str
    state: str
    reason: str
    version: str | None = None

    def line(self) -> str:
        return f"{self.digest[3:13]} {self.state}: {one_line(self.reason)}"


@dataclass(frozen=True, slots=True)
class Waiting(_Event):
    kind: ClassVar[str] = "waiting"
    reason: str

    def line(self) -> str:
        return one_line(self.reason)


@dataclass(frozen=True, slots=True)
class Resting(_Event):
    """Does not work although there may be work: paused by its owner, or by a policy."""

    kind: ClassVar[str] = "resting"
    reason: str

    def line(self) -> str:
        return one_line(self.reason)


@dataclass(frozen=True, slots=True)
class Notice(_Event):
    """Something a careful person wants to know, such as state that could not be used."""

    kind: ClassVar[str] = "notice"
    text: str

    def line(self) -> str:
        return f"note: {one_line(self.text)}"


@dataclass(frozen=True, slots=True)
class Stopped(_Event):
    kind: ClassVar[str] = "stopped"
    units: int
    reason: str

    def line(self) -> str:
        return f"stopped after {self.units} unit{'' if self.units == 1 else 's'}: {self.reason}"
