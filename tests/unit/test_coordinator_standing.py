"""Standing from the ledger: who is held back, by whose word, and from which round on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from barnraise.config import StandingConfig
from coordinator.acceptance.updates.contribution import Effect, UpdateScore
from coordinator.ledger import ContributionRow, QuarantineRow, RoundRow
from coordinator.standing import held_back, history_of, standing_of

ENFORCED = StandingConfig(enforce=True, suspend_at=-3, suspended_rounds=4)


def score(change: float, error: float = 0.01) -> dict[str, Any]:
    found = Effect(change, error, change - 2 * error, change + 2 * error, 32, 0.95)
    return UpdateScore(found, None, None, -change, error, f"{change:+.2f}").as_json()


def sent(number: int, state: str = "merged", change: float | None = 0.0) -> ContributionRow:
    evidence = {} if change is None else {"score": score(change)}
    return ContributionRow(f"b3:{number:064x}", "mallory", number, 1, 1, 1, state, "because", None, evidence, number)


class Past:
    """A ledger of one contributor."""

    def __init__(self, *rows: ContributionRow, recognised: dict[str, Any] | None = None) -> None:
        self.rows, self.held, self.recognised = rows, {}, recognised or {}

    def quarantines(self) -> dict[str, QuarantineRow]:
        return self.held

    def contributions_of(self, contributor: str, limit: int) -> list[ContributionRow]:
        return sorted(self.rows, key=lambda row: -row.received_at_ms)[:limit]

    def newest_rounds(self, before: int | None, limit: int) -> list[RoundRow]:
        made: Any = type("Round", (), {"recognised": self.recognised})
        return [made]


def why(past: Any, number: int, config: StandingConfig = ENFORCED) -> str | None:
    return held_back(past, "mallory", number, config)


def test_what_became_of_updates_is_told_in_the_order_of_rounds() -> None:
    recognised = {sent(4).digest: {"label": "copy", "reason": "of b3:00"}}
    rows = [sent(5, "rejected"), sent(1, change=-0.2), sent(3, change=None), sent(2), sent(4, change=-0.2)]
    found = [(one.round, one.kind) for one in history_of(rows, recognised)]
    assert found == [(1, "helps"), (2, "neutral"), (4, "flagged"), (5, "flagged")]


def test_who_harms_again_and_again_is_held_back_for_some_rounds_and_no_longer() -> None:
    past = Past(sent(1, "rejected"), sent(2, "rejected"))
    assert why(past, 2) is None  # only what is over counts
    reason = why(past, 3)
    assert reason is not None
    assert "suspended until round 7" in reason
    assert why(past, 6) is not None
    assert why(past, 7) is None


def test_nothing_is_held_back_unless_the_run_says_so() -> None:
    past = Past(sent(1, "rejected"), sent(2, "rejected"), sent(3, "rejected"))
    assert why(past, 4, StandingConfig()) is None
    assert why(past, 4) is not None


def test_quarantine_holds_whatever_the_scores_say() -> None:
    past = Past(sent(1, change=-0.3), sent(2, change=-0.3))
    past.held = {"mallory": QuarantineRow("mallory", "too good", 5)}
    assert why(past, 3, StandingConfig()) == "its contributor is in quarantine: too good"


@given(changes=st.lists(st.floats(-0.5, 0.5), max_size=12))
def test_who_is_never_flagged_is_never_held_back(changes: list[float]) -> None:
    past: Any = Past(*(sent(number, change=change) for number, change in enumerate(changes, 1)))
    found = standing_of(past, "mallory", 13, ENFORCED)
    assert found.state != "suspended"
    helped = sum(change + 0.02 < 0 for change in changes)
    assert found.credit == min(helped, ENFORCED.trust_at)


def test_scores_come_back_from_the_ledger_as_they_went_in() -> None:
    assert asdict(UpdateScore.from_json(score(0.1))) == score(0.1)
