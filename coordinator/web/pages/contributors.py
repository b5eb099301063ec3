"""Who takes part: the ranking by measured improvement, and one page each with how its place comes about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from barnraise.records import ContributionLine, ContributorLine, ContributorLines, ContributorRecord
from coordinator.ledger.page_reads import LeaseCounts
from coordinator.web.pages.rounds import TONES

__all__ = ["ContributorView", "RankingView", "Standing", "contributor_view", "ranking_view"]

AT_FAULT = ("rejected", "reverted")


@dataclass(frozen=True, slots=True)
class Standing:
    """A contributor in the ranking.

    Attributes:
        value: mean improvement in units of a round's scores, rounded; None while it cannot be told.
        merged, at_fault, sent: numbers of its updates; ``at_fault`` were rejected or reverted.
    """

    key: str
    name: str
    place: int | None
    value: float | None
    scored: int
    sent: int
    merged: int
    at_fault: int
    tokens: int
    first_seen_at_ms: int
    last_update_at_ms: int | None
    banned: str | None

    @property
    def merged_share(self) -> float | None:
        return self.merged / self.sent if self.sent else None


def _standing(line: ContributorLine) -> Standing:
    updates: dict[str, int] = dict(line.updates.items())
    return Standing(
        key=line.contributor,
        name=line.name,
        place=line.place,
        value=line.value,
        scored=line.scored,
        sent=sum(updates.values()),
        merged=updates.get("merged", 0),
        at_fault=sum(updates.get(state, 0) for state in AT_FAULT),
        tokens=line.tokens,
        first_seen_at_ms=line.first_seen_at_ms,
        last_update_at_ms=line.last_update_at_ms,
        banned=line.banned,
    )


@dataclass(frozen=True, slots=True)
class RankingView:
    """The ranking. ``most`` is the largest value to either side, for bars."""

    standings: tuple[Standing, ...]
    total: int
    first_round: int
    last_round: int
    step: float
    most: float


def ranking_view(lines: ContributorLines) -> RankingView:
    """From the message that tells of it."""
    standings = tuple(_standing(line) for line in lines.contributors)
    return RankingView(
        standings=standings,
        total=lines.total,
        first_round=lines.first_round,
        last_round=lines.last_round,
        step=lines.step,
        most=max((abs(one.value) for one in standings if one.value is not None), default=0.0),
    )


@dataclass(frozen=True, slots=True)
class ContributorView:
    """One contributor.

    Attributes:
        why: how its place comes about, in words.
        leases: how many it was given, and what it delivered of them.
        strip: (round, tone) of the rounds lately, oldest first; tone "" where it gave nothing.
    """

    standing: Standing
    why: str
    leases: LeaseCounts
    updates: tuple[ContributionLine, ...]
    updates_total: int
    strip: tuple[tuple[int, str], ...]
    took_part: int


def contributor_view(record: ContributorRecord, leases: LeaseCounts, rounds: Sequence[int]) -> ContributorView:
    """A contributor from the message that tells of it.

    Args:
        rounds: numbers of the newest rounds, oldest first.
    """
    tones = {update.round: TONES[update.state] for update in reversed(record.updates)}
    strip = tuple((number, tones.get(number, "")) for number in rounds)
    return ContributorView(
        standing=_standing(record.line),
        why=record.why,
        leases=leases,
        updates=record.updates,
        updates_total=record.updates_total,
        strip=strip,
        took_part=sum(bool(tone) for _, tone in strip),
    )
