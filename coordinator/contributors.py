"""Who gives how much, and what became of it: a reading of the ledger, the same over HTTP, on pages and from a folder.

The ranking is by measured improvement, never by how much was sent: every update is scored by its check on hidden
text, and ``coordinator.acceptance.updates.ranking`` compares contributors by these scores, drawn towards the mean
the more the less is known. Exact scores stay here. What goes out is rounded to a step as wide as the error of a
typical contributor, and whoever cannot be told apart shares a place.

An update that was rejected, reverted, or recognised as a copy, a free ride or tuned to public examples earns nothing,
however well it scored.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from barnraise.errors import NotFoundError
from barnraise.records import ContributionLine, ContributorLine, ContributorLines, ContributorRecord
from coordinator.acceptance.updates.ranking import Rank, ScoredUpdate, ranking
from coordinator.ledger import ContributionRow, ContributorRow, Ledger

__all__ = ["CONTRIBUTORS_MAX", "contributor_lines", "contributor_record", "credited", "rounding_step"]

CONTRIBUTORS_MAX, UPDATES_MAX, ROUNDS_RANKED, WORDS_MAX = 500, 100, 100, 1000
STEP_MIN = 0.01
_KEY = re.compile(r"[0-9a-f]{8,64}\Z")
_EARNS_NOTHING = frozenset({"rejected", "reverted"})


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of all updates of a contributor: states, tokens of those merged, when the last one came."""

    updates: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    last_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Standings:
    """The ranking at one moment: places and rounded values by key."""

    ranks: Mapping[str, Rank]
    places: Mapping[str, int]
    step: float
    first_round: int
    last_round: int

    def value(self, key: str) -> float | None:
        rank = self.ranks.get(key)
        return None if rank is None else _rounded(rank.value, self.step)


def contributor_lines(ledger: Ledger, limit: int = CONTRIBUTORS_MAX) -> ContributorLines:
    """The ranking over the newest rounds, best first.

    Args:
        limit: at most so many are listed, and never more than ``CONTRIBUTORS_MAX``.
    """
    standings, sums = _standings(ledger), _sums(ledger)
    bans = {key: ban.reason for key, ban in ledger.bans().items()}
    lines = [_line(row, standings, sums.get(row.contributor, _Sums()), bans) for row in ledger.contributors()]
    lines.sort(key=lambda line: (line.place or math.inf, line.name, line.contributor))
    return ContributorLines(
        contributors=tuple(lines[: min(limit, CONTRIBUTORS_MAX)]),
        total=len(lines),
        first_round=standings.first_round,
        last_round=standings.last_round,
        step=standings.step,
    )


def contributor_record(ledger: Ledger, name: str) -> ContributorRecord:
    """Everything about one contributor.

    Args:
        name: a public key that it has or had, or at least the first 8 hex digits of one.

    Raises:
        NotFoundError: no key begins so, or several do.
    """
    row = _find(ledger, name)
    standings, sums = _standings(ledger), _sums(ledger).get(row.contributor, _Sums())
    ban = ledger.ban(row.contributor)
    line = _line(row, standings, sums, {row.contributor: ban.reason} if ban else {})
    newest = ledger.contributions_of(row.contributor, UPDATES_MAX)
    return ContributorRecord(
        line=line,
        why=_why(line, standings),
        updates=tuple(_contribution(update) for update in newest),
        updates_total=sum(sums.updates.values()),
        keys=(row.contributor, *(step.key for step in ledger.keys.chain(row.contributor))),
    )


def credited(rows: Iterable[ContributionRow], recognised: frozenset[str]) -> list[ScoredUpdate]:
    """The scores that count: of updates that were scored, and of those that earn nothing.

    Args:
        recognised: digests of copies, free rides and tuned updates; they earn nothing, but what they spoil counts.
    """
    found = []
    for row in rows:
        score = (row.evidence or {}).get("score")
        value, error = (float(score["value"]), float(score["error"])) if score else (0.0, 0.0)
        if row.state in _EARNS_NOTHING or row.digest in recognised:
            found.append(ScoredUpdate(row.contributor, row.round, min(value, 0.0), error))
        elif score:
            found.append(ScoredUpdate(row.contributor, row.round, value, error))
    return found


def rounding_step(errors: Sequence[float]) -> float:
    """The next 1, 2 or 5 times a power of ten from the median of ``errors`` on, and no less than 0.01."""
    typical = median(errors) if errors else 0.0
    if typical <= STEP_MIN:
        return STEP_MIN
    power = 10.0 ** math.floor(math.log10(typical))
    return next(round(power * digit, 12) for digit in (1, 2, 5, 10) if typical <= power * digit * (1 + 1e-9))


def _standings(ledger: Ledger) -> _Standings:
    rounds = ledger.newest_rounds(None, ROUNDS_RANKED)
    if not rounds:
        return _Standings({}, {}, STEP_MIN, 0, 0)
    first, last = rounds[0].number, rounds[-1].number
    recognised = frozenset(digest for row in rounds for digest in row.recognised)
    ranks = ranking(credited(ledger.contributions(first), recognised))
    step = rounding_step([rank.error for rank in ranks])
    values = {rank.contributor: _rounded(rank.value, step) for rank in ranks}
    places = {key: 1 + sum(other > value for other in values.values()) for key, value in values.items()}
    return _Standings({rank.contributor: rank for rank in ranks}, places, step, first, last)


def _rounded(value: float, step: float) -> float:
    return round(round(value / step) * step, 12) + 0.0  # no negative zero


def _sums(ledger: Ledger) -> dict[str, _Sums]:
    states: dict[str, dict[str, int]] = defaultdict(dict)
    tokens: dict[str, int] = defaultdict(int)
    last: dict[str, int] = {}
    for row in ledger.pages.contributor_sums():
        states[row.contributor][row.state] = row.updates
        tokens[row.contributor] += row.tokens if row.state == "merged" else 0
        last[row.contributor] = max(row.last_at_ms, last.get(row.contributor, 0))
    return {key: _Sums(states[key], tokens[key], last[key]) for key in states}


def _line(row: ContributorRow, standings: _Standings, sums: _Sums, bans: Mapping[str, str]) -> ContributorLine:
    key = row.contributor
    rank = standings.ranks.get(key)
    return ContributorLine.model_validate(
        {
            "contributor": key,
            "name": row.name,
            "place": standings.places.get(key),
            "value": standings.value(key),
            "scored": rank.updates if rank else 0,
            "updates": sums.updates,
            "tokens": sums.tokens,
            "first_seen_at_ms": row.first_seen_at_ms,
            "last_update_at_ms": sums.last_at_ms,
            "banned": bans.get(key),
        }
    )


def _contribution(row: ContributionRow) -> ContributionLine:
    return ContributionLine.model_validate(
        {
            "digest": row.digest,
            "round": row.round,
            "state": row.state,
            "reason": row.reason[:WORDS_MAX],
            "version": row.version,
            "worth": str((row.evidence or {}).get("worth", ""))[:WORDS_MAX],
            "tokens": row.tokens,
            "steps": row.steps,
            "size_bytes": row.size_bytes,
            "received_at_ms": row.received_at_ms,
        }
    )


def _why(line: ContributorLine, standings: _Standings) -> str:
    over = f"rounds {standings.first_round} to {standings.last_round}"
    if line.place is None or line.value is None:
        return f"no place yet: a place needs a scored update in a round ({over}) that others have updates in too"
    shared = sum(place == line.place for place in standings.places.values()) - 1
    others = f", shared with {shared} who cannot be told apart" if shared else ""
    return (
        f"place {line.place} of {len(standings.places)}{others}: {line.scored} updates of {over} improve hidden text "
        f"by {line.value:+g} of a round's scores against everybody's mean, where differences below "
        f"{standings.step:g} are chance"
    )


def _find(ledger: Ledger, name: str) -> ContributorRow:
    """Who has or had the one key that begins so."""
    if not _KEY.match(name):
        raise NotFoundError(f"{name[:80]!a} is no key; give at least its first 8 hex digits, such as 3b6a27bc")
    later = {step.contributor for step in ledger.keys.beginning(name)}
    found = [row for row in ledger.contributors() if row.contributor.startswith(name) or row.contributor in later]
    if not found:
        raise NotFoundError(f"no key that begins with {name} has asked for work here; see: barnraise leaderboard")
    if len(found) > 1:
        raise NotFoundError(f"{len(found)} keys begin with {name}; give more digits")
    return found[0]
