"""Rounds as they are told to whoever asks: ledger rows into messages, the same over HTTP and from a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barnraise.config import RunConfig
from barnraise.errors import NotFoundError
from barnraise.protocol import UpdateStatus
from barnraise.records import RoundLine, RoundLines, RoundRecord
from coordinator.acceptance.hidden.feedback import resolution, rounded_summary
from coordinator.acceptance.metric import BITS_PER_BYTE
from coordinator.ledger import Ledger, RoundRow, UpdateRow
from coordinator.ledger.events import RecordedEvent

__all__ = ["LINES_MAX", "event_told", "evidence_told", "round_line", "round_lines", "round_record", "update_status"]

LINES_MAX = 100
PRIVATE = frozenset({"score", "compared"})
"""Of the evidence on an update: exact numbers on hidden examples. What may be told of them is beside them."""


def evidence_told(evidence: Mapping[str, Any] | None) -> dict[str, Any]:
    """The evidence on an update as it may go out: means of hidden examples rounded, nothing of single ones."""
    told = {key: value for key, value in (evidence or {}).items() if key not in PRIVATE}
    windows = told.get("windows")
    return rounded_summary(told, resolution(BITS_PER_BYTE.spread, windows)) if isinstance(windows, int) else told


def event_told(recorded: RecordedEvent) -> dict[str, Any]:
    """An event as it is told to whoever asks: without exact numbers on hidden examples."""
    told = recorded.as_json()
    evidence = told["payload"].get("evidence")
    if isinstance(evidence, dict):
        told["payload"] = {**told["payload"], "evidence": evidence_told(evidence)}
    return told


def round_lines(ledger: Ledger, before: int | None, limit: int) -> RoundLines:
    """The newest rounds, oldest of them first.

    Args:
        before: only rounds with a lower number. limit: at most so many, and never more than ``LINES_MAX``.
    """
    rows = ledger.newest_rounds(before, min(limit, LINES_MAX))
    return RoundLines(rounds=tuple(round_line(ledger, row) for row in rows))


def round_record(ledger: Ledger, config: RunConfig, number: int | None) -> RoundRecord:
    """Everything about one round: its updates and their fates, how it was merged, what the tests said.

    Args:
        number: the newest round when None.

    Raises:
        NotFoundError: there is no such round.
    """
    row = ledger.current_round() if number is None else ledger.round(number)
    if row is None:
        newest = ledger.current_round()
        there_are = f"the newest is {newest.number}" if newest else "none was opened yet"
        raise NotFoundError(f"there is no round {number}; {there_are}" if number is not None else there_are)
    updates = ledger.updates(round=row.number)
    names = {key: found.name for key in {u.contributor for u in updates} if (found := ledger.contributor(key))}
    return RoundRecord(
        line=round_line(ledger, row),
        updates=tuple(update_status(update, config) for update in updates),
        names=names,
        learning_rate=config.training_in(row.number).learning_rate if row.phase == "collecting" else None,
        merge=row.merge,
        verdict=row.verdict,
    )


def update_status(row: UpdateRow | None, config: RunConfig) -> UpdateStatus:
    """What became of an update.

    Raises:
        NotFoundError: no such update was received.
    """
    if row is None:
        raise NotFoundError("no update of that digest was received here")
    return UpdateStatus.model_validate(
        {
            "digest": row.digest,
            "contributor": row.contributor,
            "round": row.round,
            "state": row.state,
            "reason": row.reason,
            "version": row.version,
            "evidence": evidence_told(row.evidence),
            "fold_back": row.state == "unmerged" and config.update.fold_back_unmerged,
        }
    )


def round_line(ledger: Ledger, row: RoundRow) -> RoundLine:
    """A round as it is listed."""
    release = ledger.release_of_round(row.number)
    return RoundLine.model_validate(
        {
            "number": row.number,
            "phase": row.phase,
            "reason": row.reason,
            "base_version": row.base_version,
            "opened_at_ms": row.opened_at_ms,
            "moved_at_ms": row.moved_at_ms,
            "updates": ledger.update_counts(row.number),
            "version": release.version if release else None,
        }
    )
