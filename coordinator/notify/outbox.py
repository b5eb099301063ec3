"""What is due to one target, when, and why: the decisions of notifying, without clock or socket.

    begun at an event --> due --> attempt --> delivered
                           ^         |
                           +- wait --+--> given up (dead letter)

Attempts that failed wait longer and longer, over three days in all. Every message goes its own way: one
that is refused for ever holds up no other. What was settled is in the ledger, so a restart sends again only
what was under way, with the id that it had.

Source for the schedule: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordinator.ledger.notice_events import NoticeSettled
from coordinator.notify.messages import Message

__all__ = ["GAPS_S", "Answer", "Attempt", "Outbox", "Rest"]

GAPS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After the first attempt, and after each further one; when they are used up the message is given up."""

TOO_OLD_MS = 4 * 86_400_000
GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        delivered: a status of 2xx. status: 0 when there was no answer. reason: in words.
        wait_s: what the target asked to be waited for; None if it said nothing.
    """

    delivered: bool
    reason: str
    status: int = 0
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Send this now."""

    message: Message
    number: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is due until ``until_ms``; None when nothing waits at all."""

    until_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Message
    attempts: int = 0
    not_before_ms: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Outbox:
    """Everything that a target is still to be told.

    Attributes:
        seen_to: events up to this one were looked at.
    """

    target: str
    seen_to: int
    waiting: Mapping[int, _Waiting] = field(default_factory=dict)

    def saw(self, seq: int, message: Message | None) -> Outbox:
        """With the next event, which is none of the target's business if ``message`` is None."""
        waiting = self.waiting if message is None else {**self.waiting, seq: _Waiting(message)}
        return replace(self, seen_to=seq, waiting=waiting)

    def next(self, now_ms: int) -> Attempt | Rest:
        """What to do now: the oldest message whose time has come."""
        if not self.waiting:
            return Rest(None, f"{self.target} has been told of everything up to event {self.seen_to}")
        ready = [one for one in self.waiting.values() if one.not_before_ms <= now_ms]
        if ready:
            first = min(ready, key=lambda one: one.message.seq)
            return Attempt(first.message, first.attempts + 1)
        soonest = min(self.waiting.values(), key=lambda one: (one.not_before_ms, one.message.seq))
        wait_s = (soonest.not_before_ms - now_ms) / 1000
        words = f"attempt {soonest.attempts + 1} to tell {self.target} of event {soonest.message.seq} is due"
        return Rest(soonest.not_before_ms, f"{words} in {wait_s:.0f} s: {soonest.reason}")

    def answered(self, attempt: Attempt, answer: Answer, now_ms: int) -> tuple[Outbox, NoticeSettled | None]:
        """What follows from an attempt: settled for the ledger, or tried again later."""
        seq, number = attempt.message.seq, attempt.number
        given_up = _given_up(attempt, answer, now_ms)
        if answer.delivered or given_up:
            waiting = {other: one for other, one in self.waiting.items() if other != seq}
            left = replace(self, waiting=waiting)
            reason = answer.reason if answer.delivered else f"{given_up}: {answer.reason}"
            done_to = min(waiting, default=self.seen_to + 1) - 1
            settled = NoticeSettled(
                self.target, seq, attempt.message.message_id, answer.delivered, number, reason, done_to
            )
            return left, settled
        gap_ms = int(1000 * max(GAPS_S[number - 1], min(answer.wait_s or 0.0, GAPS_S[-1])))
        again = _Waiting(attempt.message, number, now_ms + gap_ms, answer.reason)
        return replace(self, waiting={**self.waiting, seq: again}), None


def _given_up(attempt: Attempt, answer: Answer, now_ms: int) -> str:
    """Why a message is not sent again; "" when it is."""
    if answer.status == GONE:
        return "the target says that it is gone for good"
    if attempt.number > len(GAPS_S):
        return f"given up after {attempt.number} attempts"
    age_ms = now_ms - attempt.message.at_ms
    if age_ms > TOO_OLD_MS:
        return f"given up {age_ms / 86_400_000:.1f} days after the event"
    return ""
