"""The list of releases: one line each, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.ledger import ChannelRow, ReleaseRow
from coordinator.ledger.page_reads import Counted
from coordinator.listing import accepted_in
from coordinator.web.curves import held_out, judged_of_release

__all__ = ["Mark", "ReleaseLine", "marks_of", "release_lines"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to know of a release at a glance; ``tone`` is good, bad or plain."""

    words: str
    tone: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """A release in the list.

    Attributes:
        loss: the mean of its losses, None without any; effect: against its parent, None where that is not listed.
    """

    version: str
    seq: int
    parent: str | None
    at_ms: int
    bump: str
    reason: str
    round: int
    loss: float | None
    unit: str
    effect: float | None
    counted: Counted
    patch_bytes: int | None
    keyframe_bytes: int | None
    marks: tuple[Mark, ...]


def release_lines(
    rows: Sequence[ReleaseRow],
    counted: Mapping[str, Counted],
    channels: Iterable[ChannelRow],
    reverted: Mapping[str, str],
) -> tuple[ReleaseLine, ...]:
    """The list.

    Args:
        rows: newest first. reverted: version -> the release that was made without one of its updates.
    """
    pointing = list(channels)
    losses = {row.version: _loss(row) for row in rows}
    return tuple(_line(row, losses, counted.get(row.version, Counted()), pointing, reverted) for row in rows)


def _line(
    row: ReleaseRow,
    losses: Mapping[str, tuple[float | None, str]],
    counted: Counted,
    channels: Sequence[ChannelRow],
    reverted: Mapping[str, str],
) -> ReleaseLine:
    loss, unit = losses[row.version]
    before = losses.get(row.parent or "", (None, ""))[0]
    return ReleaseLine(
        version=row.version,
        seq=row.seq,
        parent=row.parent,
        at_ms=row.created_at_ms,
        bump=row.bump,
        reason=row.reason,
        round=row.round,
        loss=loss,
        unit=unit,
        effect=None if loss is None or before is None else loss - before,
        counted=counted,
        patch_bytes=row.patch["size_bytes"] if row.patch else None,
        keyframe_bytes=row.keyframe["size_bytes"] if row.keyframe else None,
        marks=marks_of(row, channels, reverted.get(row.version)),
    )


def _loss(row: ReleaseRow) -> tuple[float | None, str]:
    curve = held_out([judged_of_release(row)])
    return (curve.values[0], curve.unit) if curve else (None, "")


def marks_of(row: ReleaseRow, channels: Iterable[ChannelRow], reverted_in: str | None) -> tuple[Mark, ...]:
    """What is to be known of a release: channels, yanked, promoted, reverted."""
    marks = [
        Mark(channel.channel, "channel", channel.reason or "") for channel in channels if channel.version == row.version
    ]
    if row.yanked is not None:
        marks.append(Mark("yanked", "bad", row.yanked))
    if row.promoted_at_ms is not None:
        marks.append(Mark("promoted", "good", "the maintainers have signed it"))
    if row.reverts:
        marks.append(Mark("reverts", "plain", f"made without {len(row.reverts)} updates that its parent has"))
    if reverted_in is not None:
        marks.append(Mark("reverted", "bad", f"an update in it is no longer there since {reverted_in}"))
    if accepted_in(row.summary):
        marks.append(Mark("accepted", "bad", "a test got worse, by the operator's leave"))
    return tuple(marks)
