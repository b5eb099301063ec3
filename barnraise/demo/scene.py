"""What a spectator knows of a run, folded from ledger events and from what volunteers print.

Pure: events in, a frozen picture and lines of text out. The screen only paints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from barnraise.narrate import narrate

__all__ = ["Release", "Scene", "Volunteer"]

UNTOLD = frozenset({"run-created", "contributor-seen", "lease-granted", "channel-moved"})


@dataclass(frozen=True, slots=True)
class Volunteer:
    """One contributing process. ``loss`` is in bits per byte; ``sent_bytes`` and ``units`` are totals."""

    name: str
    doing: str = "starting"
    shard: str = ""
    loss: float | None = None
    sent_bytes: int = 0
    dense_bytes: int = 0
    units: int = 0

    def heard(self, event: Mapping[str, Any]) -> Volunteer:
        """The volunteer after one line of its ``join --json`` output."""
        match event.get("event"):
            case "leased":
                doing = f"round {event['round']}: pulling {event['base_version']}"
                return replace(self, doing=doing, shard=str(event["shard"]))
            case "step":
                return replace(self, doing=f"step {event['step']}/{event['steps']}", loss=float(event["loss"]))
            case "sent":
                return replace(
                    self,
                    doing="sent",
                    units=self.units + 1,
                    sent_bytes=self.sent_bytes + int(event["bytes"]),
                    dense_bytes=self.dense_bytes + int(event["dense_bytes"]),
                )
            case "waiting":
                return replace(self, doing="waiting")
            case "stopped":
                return replace(self, doing="stopped")
            case _:
                return self


@dataclass(frozen=True, slots=True)
class Release:
    """A tag. ``loss`` is the mean held-out bits per byte over the domains; ``verdicts`` one line a test."""

    version: str
    round: int
    bump: str
    loss: float
    patch_bytes: int | None
    verdicts: tuple[str, ...]
    all_passed: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is shown."""

    volunteers: Mapping[str, Volunteer] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    releases: tuple[Release, ...] = ()
    rejected: tuple[Mapping[str, Any], ...] = ()
    senders: Mapping[str, str] = field(default_factory=dict)
    merged: Mapping[int, int] = field(default_factory=dict)
    round: int = 0
    phase: str = "starting"
    ended: Mapping[int, str] = field(default_factory=dict)

    @property
    def sent_bytes(self) -> int:
        return sum(volunteer.sent_bytes for volunteer in self.volunteers.values())

    @property
    def dense_bytes(self) -> int:
        return sum(volunteer.dense_bytes for volunteer in self.volunteers.values())

    def heard(self, name: str, event: Mapping[str, Any]) -> Scene:
        """The scene after something that a volunteer printed."""
        volunteer = self.volunteers.get(name, Volunteer(name)).heard(event)
        return replace(self, volunteers={**self.volunteers, name: volunteer})

    def happened(self, kind: str, payload: Mapping[str, Any]) -> tuple[Scene, tuple[str, ...]]:
        """The scene after a ledger event, and what to tell about it."""
        scene = self._after(kind, payload)
        lines: tuple[str, ...] = ()
        if kind not in UNTOLD:
            senders = {digest: scene.names.get(key, key[:8]) for digest, key in scene.senders.items()}
            lines = tuple(line for line in [narrate(kind, payload, {**scene.names, **senders})] if line)
        if kind == "release-tagged" and payload["summary"]:
            lines += tuple(f"    {line}" for line in scene.releases[-1].verdicts)
        return scene, lines

    def _after(self, kind: str, payload: Mapping[str, Any]) -> Scene:
        match kind:
            case "contributor-seen":
                return replace(self, names={**self.names, payload["contributor"]: payload["name"]})
            case "update-received":
                return replace(self, senders={**self.senders, payload["digest"]: payload["contributor"]})
            case "update-rejected":
                by = self.names.get(self.senders.get(payload["digest"], ""), "")
                return replace(self, rejected=(*self.rejected, {**payload, "by": by}))
            case "update-merged":
                number = int(payload["round"])
                return replace(self, merged={**self.merged, number: self.merged.get(number, 0) + 1})
            case "round-opened":
                return replace(self, round=int(payload["number"]), phase="collecting")
            case "round-moved":
                phase = str(payload["phase"])
                ended = self.ended
                if phase in {"released", "rejected", "abandoned"}:
                    ended = {**ended, int(payload["number"]): phase}
                return replace(self, phase=phase, ended=ended)
            case "release-tagged":
                return replace(self, releases=(*self.releases, release_of(payload)))
            case _:
                return self


def release_of(payload: Mapping[str, Any]) -> Release:
    """A release from its ``release-tagged`` event."""
    summary: Mapping[str, Mapping[str, Any]] = payload["summary"]
    losses = [row["mean"] for row in summary.values() if row["unit"] == "bits/byte"]
    patch = payload["patch"]
    return Release(
        version=payload["version"],
        round=int(payload["round"]),
        bump=payload["bump"],
        loss=sum(losses) / len(losses) if losses else float("nan"),
        patch_bytes=patch["size_bytes"] if patch else None,
        verdicts=tuple(_verdict_line(name, row) for name, row in summary.items()),
        all_passed=all(row["passed"] for row in summary.values() if row["supported"]),
    )


def _verdict_line(name: str, row: Mapping[str, Any]) -> str:
    if row.get("base_mean") is None:
        return f"{name}: {row['mean']:.3f} {row['unit']}"
    word = "non-inferior" if row["passed"] else "WORSE"
    return (
        f"{name}: {row['base_mean']:.3f} -> {row['mean']:.3f} {row['unit']}, "
        f"{row['confidence']:.0%} [{row['low']:+.3f}, {row['high']:+.3f}]: {word}"
    )
