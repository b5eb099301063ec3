"""What is counted of rounds: phases, outcomes, how long it took, and how the newest merge went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from barnraise.metric import Readings, Spread
from coordinator.ledger.events import RoundMerged, RoundMoved, RoundOpened, RoundTested
from coordinator.metrics.catalogue import BOUNDS_S, OUTCOMES, PHASES

__all__ = ["RoundsFold"]


class RoundsFold:
    """Phases, outcomes, and how long it all took."""

    def __init__(self) -> None:
        self._test_s = Spread(BOUNDS_S)
        self._merge_s = Spread(BOUNDS_S)
        self._phase_s = {phase: Spread(BOUNDS_S) for phase in PHASES[:3]}
        self._opened = 0
        self._ended: Counter[str] = Counter()
        self._in_a_row: tuple[str, int] = ("", 0)
        self._number = 0
        self._phase, self._phase_since_ms, self._moved_at_ms = "", 0, 0
        self._suite_failures = 0
        self._record: Mapping[str, Any] = {}

    def take(self, event: RoundOpened | RoundMoved | RoundMerged | RoundTested, at_ms: int) -> None:
        match event:
            case RoundOpened(number):
                self._opened += 1
                self._number, self._phase, self._suite_failures = number, "collecting", 0
                self._phase_since_ms = self._moved_at_ms = at_ms
            case RoundMoved(_, phase, _, state):
                self._suite_failures = int(state.get("suite_failures") or 0)
                self._moved_at_ms = at_ms
                if phase != self._phase:
                    self._leave(phase, at_ms)
            case RoundMerged():
                self._record = event.record
                if event.took_ms is not None:
                    self._merge_s.add(event.took_ms / 1000)
            case RoundTested():
                if event.took_ms is not None:
                    self._test_s.add(event.took_ms / 1000)

    def _leave(self, phase: str, at_ms: int) -> None:
        if self._phase in self._phase_s:
            self._phase_s[self._phase].add(max(0, at_ms - self._phase_since_ms) / 1000)
        self._phase, self._phase_since_ms = phase, at_ms
        if phase in OUTCOMES:
            self._ended[phase] += 1
            kind, count = self._in_a_row
            self._in_a_row = (phase, count + 1 if phase == kind else 1)

    def tell(self, found: Readings, now_ms: int) -> None:
        found.put("barnraise_rounds_opened_total", self._opened)
        for outcome in OUTCOMES:
            kind, count = self._in_a_row
            found.put("barnraise_rounds_total", self._ended[outcome], outcome)
            found.put("barnraise_rounds_in_a_row", count if outcome == kind else 0, outcome)
        for phase, spread in self._phase_s.items():
            found.put("barnraise_round_phase_duration_seconds", spread, phase)
        found.put("barnraise_merge_seconds", self._merge_s)
        found.put("barnraise_test_seconds", self._test_s)
        if self._number:
            found.put("barnraise_round_number", self._number)
            found.put("barnraise_round_phase_age_seconds", max(0, now_ms - self._moved_at_ms) / 1000)
            found.put("barnraise_suite_failures", self._suite_failures)
            for phase in PHASES:
                found.put("barnraise_round_phase", float(phase == self._phase), phase)
        if self._record:
            rows = self._record.get("updates", [])
            found.put("barnraise_merge_updates", len(rows))
            found.put("barnraise_merge_clipped", sum(row["clip"] < 1 for row in rows))
            overall = self._record.get("conflicts", {}).get("overall", {})
            for measure in ("cosine", "overlap", "opposed"):
                if overall.get(measure) is not None:
                    found.put("barnraise_merge_agreement_ratio", overall[measure], measure)
