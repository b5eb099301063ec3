"""What is counted of updates: states, why they changed, and whose were merged last."""

from __future__ import annotations

from collections import Counter, deque

from barnraise.metric import Readings, Spread
from coordinator.ledger.events import UpdateChecked, UpdateMerged, UpdateReceived, UpdateRejected, UpdateUnmerged
from coordinator.ledger.order_events import UpdateReverted
from coordinator.metrics.catalogue import BOUNDS_S, MOVES, STATES
from coordinator.metrics.reasons import rejection_code, unmerged_code

__all__ = ["Moved", "UpdatesFold"]

SHARE_OF = 100
Moved = UpdateChecked | UpdateRejected | UpdateMerged | UpdateUnmerged | UpdateReverted


class UpdatesFold:
    """States, why they changed, and who is in what was merged last."""

    def __init__(self) -> None:
        self._now: Counter[str] = Counter()
        self._moves: Counter[tuple[str, str]] = Counter()
        self._wait_s = Spread(BOUNDS_S)
        self._open: dict[str, tuple[str, str, int]] = {}  # digest -> state, whose, when received
        self._reverted: set[str] = set()
        self._merged_last: deque[str] = deque(maxlen=SHARE_OF)

    def receive(self, event: UpdateReceived, at_ms: int) -> None:
        self._open[event.digest] = ("received", event.contributor, at_ms)
        self._now["received"] += 1
        self._moves["received", "none"] += 1

    def move(self, event: Moved, at_ms: int) -> None:
        state, reason = _where_and_why(event)
        self._moves[state, reason] += 1
        if state == "reverted":
            if event.digest in self._reverted:  # once more, on a trunk that was rolled back before the first time
                return
            self._reverted.add(event.digest)
            self._now["merged"] -= 1
        before, contributor, received_ms = self._open.pop(event.digest, ("", "", at_ms))
        if before:
            self._now[before] -= 1
        self._now[state] += 1
        if before == "received" and state in {"checked", "rejected"}:
            self._wait_s.add(max(0, at_ms - received_ms) / 1000)
        if state == "checked":
            self._open[event.digest] = (state, contributor, received_ms)
        if state == "merged":
            self._merged_last.append(contributor)

    def tell(self, found: Readings) -> None:
        for state in STATES:
            found.put("barnraise_updates", max(0, self._now[state]), state)
        for state, reason in MOVES:
            found.put("barnraise_update_moves_total", self._moves[state, reason], state, reason)
        found.put("barnraise_update_check_wait_seconds", self._wait_s)
        if self._merged_last:
            most = Counter(self._merged_last).most_common(1)[0][1]
            found.put("barnraise_contributor_share_max_ratio", most / len(self._merged_last))


def _where_and_why(event: Moved) -> tuple[str, str]:
    match event:
        case UpdateChecked():
            return "checked", "none"
        case UpdateRejected():
            return "rejected", rejection_code(event)
        case UpdateMerged():
            return "merged", "none"
        case UpdateUnmerged():
            return "unmerged", unmerged_code(event)
        case UpdateReverted():
            return "reverted", "none"
