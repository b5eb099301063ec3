"""Whether a contributor is trusted: a walk of one number, with two borders for every state.

    NEW -- a few updates scored --> PROBATION -- credit up to trust_at --> TRUSTED
                                     |    ^                                  |
             credit down to suspend_at    |  <---- credit down to half of it-+
                                     v    |
                                  SUSPENDED -- suspended_rounds over --> PROBATION, one point above the border

An update that helps adds a point, one that is flagged takes ``penalty`` points, any other leaves
the number where it is. The number stays between the borders, so old merit does not outweigh
what somebody does now, and old sins are forgotten. Who is trusted is so until half of the
credit is gone: one false alarm moves nobody. A contributor whose updates are flagged by chance,
once in a hundred, and help in a tenth of the rounds at least, is practically never suspended.

``standing`` replays a history, so it needs no state of its own and says the same to everybody.

Source: Page 1954, "Continuous inspection schemes", Biometrika 41, 100-115 (a bounded sum that is
watched for crossing a border); two borders as in a Schmitt trigger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coordinator.acceptance.updates.contribution import UpdateScore
from coordinator.acceptance.updates.recognition import Recognised

__all__ = ["Outcome", "Standing", "StandingPolicy", "State", "outcome_of", "standing"]

State = Literal["new", "probation", "trusted", "suspended"]


@dataclass(frozen=True, slots=True)
class StandingPolicy:
    """The numbers of the walk; see the drawing.

    Attributes:
        new_for: updates scored before anybody is judged. trust_at, suspend_at: borders of the credit.
        penalty: points that a flagged update takes. suspended_rounds: how long a suspension lasts.
    """

    new_for: int = 2
    trust_at: int = 5
    suspend_at: int = -5
    penalty: int = 2
    suspended_rounds: int = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one update's score comes to.

    Attributes:
        kind: ``flagged`` was recognised as no honest work, ``helps`` is shown to gain, ``neutral`` is neither.
    """

    round: int
    kind: Literal["helps", "neutral", "flagged"]
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a contributor stands. ``until_round``: first round after a suspension; None in other states."""

    state: State
    credit: int
    until_round: int | None
    reason: str


def outcome_of(number: int, score: UpdateScore, recognised: Recognised) -> Outcome:
    """What the score of an update in round ``number`` and what was recognised of it come to."""
    if recognised.flagged:
        return Outcome(number, "flagged", f"{recognised.label}: {recognised.reason}")
    effects = [score.hidden, *([score.own] if score.own is not None else [])]
    if any(found.high < 0 for found in effects):
        return Outcome(number, "helps", score.reason)
    return Outcome(number, "neutral", score.reason)


def standing(history: Sequence[Outcome], now_round: int, policy: StandingPolicy) -> Standing:
    """A contributor's standing in round ``now_round``.

    Args:
        history: of its updates, in the order of rounds, all before ``now_round``.
    """
    state: State = "new"
    credit, until, scored = 0, 0, 0
    for outcome in history:
        state, credit = _released(state, credit, until, outcome.round, policy)
        if state == "suspended":
            continue  # an update that was under way when the suspension began
        scored += 1
        credit += {"helps": 1, "neutral": 0, "flagged": -policy.penalty}[outcome.kind]
        credit = min(max(credit, policy.suspend_at), policy.trust_at)
        state = _state(state, credit, scored, policy)
        if state == "suspended":
            until = outcome.round + 1 + policy.suspended_rounds
    state, credit = _released(state, credit, until, now_round, policy)
    reason = _reason(history, state, credit, until, policy)
    return Standing(state, credit, until if state == "suspended" else None, reason)


def _released(state: State, credit: int, until: int, number: int, policy: StandingPolicy) -> tuple[State, int]:
    """After a suspension a contributor is on probation, one point above the border."""
    if state == "suspended" and number >= until:
        return "probation", policy.suspend_at + 1
    return state, credit


def _state(before: State, credit: int, scored: int, policy: StandingPolicy) -> State:
    if credit <= policy.suspend_at:
        return "suspended"
    if credit >= policy.trust_at:
        return "trusted"
    if before == "trusted" and credit > policy.trust_at // 2:
        return "trusted"
    return "new" if scored < policy.new_for else "probation"


def _reason(history: Sequence[Outcome], state: State, credit: int, until: int, policy: StandingPolicy) -> str:
    counts = {kind: sum(outcome.kind == kind for outcome in history) for kind in ("helps", "neutral", "flagged")}
    numbers = (
        f"{len(history)} updates scored, {counts['helps']} help, {counts['flagged']} flagged; credit {credit:+d}, "
        f"trusted from {policy.trust_at:+d}, suspended at {policy.suspend_at:+d}"
    )
    last = next((outcome for outcome in reversed(history) if outcome.kind == "flagged"), None)
    if state == "suspended" and last is not None:
        return f"suspended until round {until}: {numbers}; last in round {last.round}, {last.reason}"
    return f"{state}: {numbers}"
