"""Rounds: the list, and one round's life from its opening to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnraise.agreement import agreement_in_words
from barnraise.narrate import in_turn, narrate, suspected
from barnraise.records import RoundLine, RoundRecord
from coordinator.ledger.events import RecordedEvent
from coordinator.round import FINAL
from coordinator.web.pages.tests import VerdictRow, reach_of, verdict_rows

__all__ = [
    "FATES",
    "Agreement",
    "Moment",
    "RoundLineView",
    "RoundView",
    "UpdateLine",
    "agreement_of",
    "moments",
    "round_line_view",
    "round_view",
]

FATES = ("merged", "checked", "received", "unmerged", "reverted", "rejected")
TONES = {
    "merged": "good",
    "checked": "calm",
    "received": "calm",
    "unmerged": "soft",
    "reverted": "bad",
    "rejected": "bad",
}


@dataclass(frozen=True, slots=True)
class RoundLineView:
    """A round in the list.

    Attributes:
        fates: (state, number of updates in it), the good first. shares: the same as parts of a bar.
        took_ms: from its opening to its end; None while it goes on.
    """

    number: int
    phase: str
    reason: str
    base_version: str
    version: str | None
    opened_at_ms: int
    took_ms: int | None
    fates: tuple[tuple[str, int], ...]
    shares: tuple[tuple[str, float], ...]


def round_line_view(line: RoundLine) -> RoundLineView:
    """From the message that tells of it."""
    counts: dict[str, int] = dict(line.updates.items())
    fates = tuple((state, counts[state]) for state in FATES if counts.get(state))
    total = sum(count for _, count in fates)
    return RoundLineView(
        number=line.number,
        phase=line.phase,
        reason=line.reason,
        base_version=line.base_version,
        version=line.version,
        opened_at_ms=line.opened_at_ms,
        took_ms=line.moved_at_ms - line.opened_at_ms if line.phase in FINAL else None,
        fates=fates,
        shares=tuple((TONES[state], count / total) for state, count in fates),
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far updates agree, in half a sentence and for tables; None where there was nothing to compare."""

    words: str
    opposed: float | None
    cosine: float | None


def agreement_of(found: Mapping[str, Any] | None) -> Agreement:
    """From a record's numbers."""
    if found is None:
        return Agreement("", None, None)
    return Agreement(agreement_in_words(found), found["opposed"], found["cosine"])


@dataclass(frozen=True, slots=True)
class UpdateLine:
    """An update in its round, and what the newest merge did with it, where it was part of that.

    Attributes:
        clip: the factor that shortened it. share: its part of the weighted sum.
        suspicion: what was recognised of it, in words; "" mostly.
    """

    digest: str
    contributor: str
    name: str
    state: str
    reason: str
    weight: float | None
    clip: float | None
    share: float | None
    cosine: float | None
    suspicion: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, in words; ``tone`` is good, bad or plain."""

    at_ms: int
    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class RoundView:
    """A whole round.

    Attributes:
        way: how its newest candidate was merged, in words; "" before.
        overall, tensors, pairs: how its updates got on with each other; empty before a merge.
        passed: what the tests said; None before. draws: (test, drawn, of so many hidden examples).
        learning_rate: of its units, while it collects; None afterwards.
        older, newer: numbers of the rounds beside it.
    """

    line: RoundLineView
    life: tuple[Moment, ...]
    updates: tuple[UpdateLine, ...]
    way: str
    note: str
    overall: Agreement
    compared: int
    tensors: tuple[tuple[str, Agreement], ...]
    pairs: tuple[tuple[str, str, Agreement], ...]
    passed: bool | None
    verdict_reason: str
    verdict: tuple[VerdictRow, ...]
    reach: float
    draws: tuple[tuple[str, int, int], ...]
    learning_rate: float | None
    older: int | None
    newer: int | None


def round_view(record: RoundRecord, events: Sequence[RecordedEvent], newest: int) -> RoundView:
    """A round from the message that tells of it.

    Args:
        events: about the round itself, oldest first. newest: number of the newest round.
    """
    merge, verdict = record.merge or {}, record.verdict or {}
    conflicts = merge.get("conflicts") or {}
    rows = verdict_rows(verdict.get("tests", {}))
    number = record.line.number
    return RoundView(
        line=round_line_view(record.line),
        life=moments(events),
        updates=_updates(record, merge, conflicts),
        way=_way(merge),
        note=merge.get("note", ""),
        overall=agreement_of(conflicts.get("overall")),
        compared=int(conflicts.get("pairs", 0)),
        tensors=tuple((row["tensor"], agreement_of(row["agreement"])) for row in conflicts.get("worst_tensors", ())),
        pairs=tuple(
            (row["first"], row["second"], agreement_of(row["agreement"])) for row in conflicts.get("worst_pairs", ())
        ),
        passed=verdict.get("passed"),
        verdict_reason=verdict.get("reason", ""),
        verdict=rows,
        reach=reach_of(rows),
        draws=_draws(verdict),
        learning_rate=record.learning_rate,
        older=number - 1 if number > 1 else None,
        newer=number + 1 if number < newest else None,
    )


def _updates(record: RoundRecord, merge: Mapping[str, Any], conflicts: Mapping[str, Any]) -> tuple[UpdateLine, ...]:
    merged = {row["digest"]: row for row in merge.get("updates", ())}
    agreements = {row["update"]: agreement_of(row["agreement"]) for row in conflicts.get("updates", ())}
    recognised = merge.get("recognised") or {}
    lines = []
    for update in record.updates:
        part, seen = merged.get(update.digest, {}), recognised.get(update.digest)
        lines.append(
            UpdateLine(
                digest=update.digest,
                contributor=update.contributor,
                name=record.names.get(update.contributor, ""),
                state=update.state,
                reason=update.reason,
                weight=part.get("weight"),
                clip=part.get("clip"),
                share=part.get("share"),
                cosine=agreements[update.digest].cosine if update.digest in agreements else None,
                suspicion=suspected(seen) if seen else "",
            )
        )
    return tuple(sorted(lines, key=lambda line: (FATES.index(line.state), line.name, line.digest)))


def _way(merge: Mapping[str, Any]) -> str:
    if not merge:
        return ""
    options = ", ".join(f"{name} = {value}" for name, value in merge.get("options", {}).items())
    before = f" after {', '.join(merge['before'])}" if merge.get("before") else ""
    outer = f", outer rule {merge['outer']}" if merge.get("outer", "none") != "none" else ""
    turn = f", {said}" if (said := in_turn(merge)) else ""
    return f"{merge['strategy']}{f' ({options})' if options else ''}{before}{outer}{turn}"


def _draws(verdict: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    tests = (verdict.get("draws") or {}).get("tests", {})
    return tuple((name, len(row["places"]), int(row["size"])) for name, row in sorted(tests.items()))


def moments(events: Iterable[RecordedEvent]) -> tuple[Moment, ...]:
    """Events of a round in words, oldest first, without its number before each."""
    found = []
    for recorded in events:
        kind, payload = recorded.event.kind, recorded.as_json()["payload"]
        words = narrate(kind, payload, {})
        if kind == "round-tested":
            words = f"tests {'passed' if payload['passed'] else 'failed'}: {payload['reason']}"
        elif kind == "round-moved" and payload["reason"].startswith(payload["phase"]):
            words = payload["reason"]
        elif ": " in words and words.startswith("round "):
            words = words.split(": ", 1)[1]
        if words:
            found.append(Moment(recorded.at_ms, words, _tone(kind, payload)))
    return tuple(found)


def _tone(kind: str, payload: Mapping[str, Any]) -> str:
    if kind == "round-tested":
        return "good" if payload["passed"] else "bad"
    if kind == "round-moved" and payload["phase"] in ("released", "rejected"):
        return "good" if payload["phase"] == "released" else "bad"
    return "plain"
