"""What became of one update and why, from the ledger: the evidence that its contributor can see.

Everything is bounded: a round of thousands of updates whose culprits took hundreds of merges to
find gives a story of a few dozen lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from barnraise.config import RunConfig
from barnraise.errors import NotFoundError
from barnraise.narrate import narrate, short
from barnraise.records import StoryEvent, StoryTrial, UpdateStory
from coordinator.history import evidence_told, round_line, update_status
from coordinator.ledger import Ledger, UpdateRow
from coordinator.ledger.events import (
    RecordedEvent,
    RoundMerged,
    RoundTested,
    UpdateChecked,
    UpdateMerged,
    UpdateReceived,
    UpdateRejected,
    UpdateUnmerged,
)
from coordinator.ledger.order_events import UpdateReverted

__all__ = ["find_update", "update_story"]

EVENTS_MAX, MERGES_MAX, TRIALS_MAX, PAIRS_MAX, WORDS_MAX = 16, 40, 64, 3, 1000
ABOUT_AN_UPDATE = (UpdateReceived, UpdateChecked, UpdateRejected, UpdateUnmerged, UpdateMerged, UpdateReverted)
_NAME = re.compile(r"(b3:)?[0-9a-f]{6,64}\Z")

Merge = tuple[RoundMerged, RoundTested | None]


def update_story(ledger: Ledger, config: RunConfig, name: str) -> UpdateStory:
    """Everything about one update.

    Args:
        name: its digest, or at least the first 6 hex digits of it.

    Raises:
        NotFoundError: no update begins so, or several do.
    """
    row = find_update(ledger, name)
    events = ledger.events_about(row.digest, [kind.kind for kind in ABOUT_AN_UPDATE], EVENTS_MAX)
    merges = _merges(ledger, row)
    trials = _trials(row)
    found = ledger.round(row.round)
    known = ledger.contributor(row.contributor)
    status = update_status(row, config)
    return UpdateStory(
        status=status.model_copy(update={"reason": row.reason[:WORDS_MAX], "evidence": _rest_of(row)}),
        name=known.name if known else "",
        size_bytes=row.size_bytes,
        tokens=row.tokens,
        steps=row.steps,
        round=round_line(ledger, found) if found else None,
        happened=tuple(_happening(event, row) for event in events),
        check=_check(events),
        merge=_part_of(merges[-1][0], row.digest) if merges else None,
        tested=_verdict(merges[-1][1]) if merges else None,
        trials=tuple(_trial(trial, row.digest) for trial in trials[-TRIALS_MAX:]),
        trials_total=len(trials),
        proof=_proof(trials, merges, row.digest) if row.state == "rejected" else None,
        reverted_in=row.reverted_in,
    )


def find_update(ledger: Ledger, name: str) -> UpdateRow:
    """The one update whose digest begins with ``name``.

    Raises:
        NotFoundError: none or several do, or that is no beginning of a digest.
    """
    if not _NAME.match(name):
        raise NotFoundError(f"{name[:80]!a} is no digest; give at least its first 6 hex digits, such as b3:5f0c81")
    rows = ledger.updates_named(name)
    if not rows:
        raise NotFoundError(f"no update that begins with {name} was received here; see: barnraise round show")
    if len(rows) > 1:
        several = ", ".join(row.digest[:19] for row in rows[:3])
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        raise NotFoundError(f"{len(rows)} updates begin with {name}: {several}{more}; give more digits")
    return rows[0]


def _happening(event: RecordedEvent, row: UpdateRow) -> StoryEvent:
    payload = event.as_json()["payload"]
    match event.event:
        case UpdateMerged(_, number, version, weight):
            words = f"round {number}: merged in {version} at weight {weight:g}"
        case UpdateReceived(_, contributor, _, number, _, size_bytes) as received:
            words = f"round {number}: received from {short(contributor)}, {size_bytes:,} bytes{_counted(row)}"
            if received.team:
                words += f", for a team: {', '.join(short(member) for member in received.contributors)}"
        case _:
            words = narrate(event.event.kind, payload, {}) or event.event.kind
    return StoryEvent(at_ms=event.at_ms, what=event.event.kind, words=words[:WORDS_MAX])


def _counted(row: UpdateRow) -> str:
    """That fewer tokens count than were stated; "" when all do."""
    stated = row.envelope.get("body", {}).get("tokens", row.tokens)
    return "" if row.tokens == stated else f", {row.tokens:,} of the {stated:,} stated tokens count"


def _check(events: Sequence[RecordedEvent]) -> dict[str, Any] | None:
    """What the check of the update alone measured, and whether it passed."""
    for recorded in events:
        match recorded.event:
            case UpdateChecked(_, _, _, reason, evidence):
                return {"passed": True, "reason": reason[:WORDS_MAX], **_numbers(evidence)}
            case UpdateRejected(_, _, "check", reason, evidence):
                return {"passed": False, "reason": reason[:WORDS_MAX], **_numbers(evidence)}
            case _:
                pass
    return None


def _merges(ledger: Ledger, row: UpdateRow) -> list[Merge]:
    """Merges of the update's round that it was part of, with what the tests said of each; oldest first."""
    kinds = (RoundMerged.kind, RoundTested.kind)
    found: list[Merge] = []
    is_part = False
    for recorded in ledger.events_about(str(row.round), kinds, MERGES_MAX):
        event = recorded.event
        if isinstance(event, RoundMerged):
            is_part = any(update["digest"] == row.digest for update in event.record.get("updates", ()))
            found += [(event, None)] if is_part else []
        elif isinstance(event, RoundTested) and is_part:
            found[-1] = (found[-1][0], event)
    return found


def _part_of(merged: RoundMerged, digest: str) -> dict[str, Any]:
    """How a merge treated one of its updates."""
    record = merged.record
    mine = next(update for update in record["updates"] if update["digest"] == digest)
    conflicts = record.get("conflicts") or {}
    each = [row for row in conflicts.get("updates", ()) if row["update"] == digest]
    pairs = [row for row in conflicts.get("worst_pairs", ()) if digest in {row["first"], row["second"]}]
    others = [
        {"with": row["second"] if row["first"] == digest else row["first"], "agreement": row["agreement"]}
        for row in pairs[:PAIRS_MAX]
    ]
    return {
        "round": merged.number,
        "strategy": record["strategy"],
        "updates": len(record["updates"]),
        "weight": mine["weight"],
        "clip": mine["clip"],
        "share": mine["share"],
        "recognised": record.get("recognised", {}).get(digest),
        "agreement": each[0]["agreement"] if each else None,
        "worst_pairs": others,
    }


def _verdict(tested: RoundTested | None) -> dict[str, Any] | None:
    return {"passed": tested.passed, "reason": tested.reason[:WORDS_MAX]} if tested else None


def _trials(row: UpdateRow) -> list[dict[str, Any]]:
    """Subsets that a culprit search tested; updates in them have short names."""
    found = row.evidence.get("subsets")
    return found if row.found_by == "culprit-search" and isinstance(found, list) else []


def _trial(trial: dict[str, Any], digest: str) -> StoryTrial:
    updates, reason = trial["updates"], str(trial.get("reason", ""))[:WORDS_MAX]
    return StoryTrial(updates=len(updates), with_it=short(digest) in updates, passed=trial["passed"], reason=reason)


def _proof(trials: Sequence[dict[str, Any]], merges: Sequence[Merge], digest: str) -> dict[str, int] | None:
    """The largest two sets that were tested, differ in the update alone, fail with it and pass without it."""
    failed = [frozenset(trial["updates"]) for trial in trials if not trial["passed"]]
    for merged, tested in merges:
        if tested is not None and not tested.passed:
            failed.append(frozenset(short(update["digest"]) for update in merged.record["updates"]))
    passed = {frozenset(trial["updates"]) for trial in trials if trial["passed"]}
    sizes = [len(one) for one in failed if short(digest) in one and one - {short(digest)} in passed]
    return {"fails": max(sizes), "passes": max(sizes) - 1} if sizes else None


def _rest_of(row: UpdateRow) -> dict[str, Any]:
    """Evidence that is not told elsewhere: of a late update, what it conflicts with."""
    conflicts = row.evidence.get("conflicts")
    if row.state != "unmerged" or not isinstance(conflicts, dict):
        return {}
    worst = list(conflicts.get("worst_tensors") or ())[:PAIRS_MAX]
    since = list(row.evidence.get("merged_meanwhile") or ())[-PAIRS_MAX:]
    return {"merged_meanwhile": since, "conflicts": {**conflicts, "worst_tensors": worst}}


def _numbers(evidence: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in evidence_told(evidence).items() if isinstance(value, int | float | str)}
