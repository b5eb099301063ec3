"""Which events are worth a notification, and what it says.

A message follows from the event alone, so that it is the same, with the same id, whenever it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from barnraise.digest import canonical_json, digest_json
from barnraise.narrate import narrate
from coordinator.ledger.events import RecordedEvent, ReleaseTagged, RoundMoved, UpdateRejected
from coordinator.ledger.order_events import (
    ChannelProbed,
    ContributorBanned,
    OrderSettled,
    ReleasePromoted,
    ReleaseYanked,
)

__all__ = ["Message", "message_of", "notice_of", "trial_message"]


@dataclass(frozen=True, slots=True)
class Message:
    """One notification.

    Attributes:
        message_id: of this event in this run. seq: of the event, 0 of a test.
        line: what happened in one sentence. data: the same for programs.
    """

    message_id: str
    seq: int
    at_ms: int
    notice: str
    run: str
    line: str
    data: dict[str, Any]

    @property
    def body(self) -> bytes:
        """What a webhook gets: canonical JSON with ``type``, ``timestamp`` and ``data``."""
        when = datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        data = {"run": self.run, "seq": self.seq, "line": self.line, **self.data}
        return canonical_json({"type": self.notice, "timestamp": when.replace("+00:00", "Z"), "data": data})


def notice_of(recorded: RecordedEvent) -> str | None:
    """What kind of notification an event is; None of most."""
    match recorded.event:
        case ReleaseTagged():
            return "release.tagged"
        case ReleaseYanked(_, reason):
            return None if reason is None else "release.yanked"
        case ReleasePromoted():
            return "release.promoted"
        case RoundMoved(_, "rejected" | "abandoned" as phase):
            return f"round.{phase}"
        case RoundMoved(_, "testing", _, state) if state.get("suite_failures") and state.get("retry_at_ms"):
            return "suite.failed"
        case UpdateRejected():
            return "update.rejected"
        case ChannelProbed() as probed:
            return None if probed.passed else "channel.moved-back"
        case ContributorBanned():
            return "contributor.banned"
        case OrderSettled(_, done):
            return None if done else "order.refused"
        case _:
            return None


def message_of(recorded: RecordedEvent, notice: str, run: str) -> Message:
    """The message of an event. Names of contributors are hostile and stay out; keys and digests are in.

    Args:
        notice: what :func:`notice_of` said.
    """
    value = recorded.as_json()
    payload = {key: kept for key, kept in value["payload"].items() if isinstance(kept, str | int | bool)}
    line = narrate(value["kind"], value["payload"], {}) or notice
    identity = digest_json([run, recorded.seq, recorded.at_ms, value["kind"], value["subject"]])
    return Message(f"msg_{identity[3:35]}", recorded.seq, recorded.at_ms, notice, run, line, payload)


def trial_message(run: str, now_ms: int, draw: str) -> Message:
    """What ``barnraise notify test`` sends.

    Args:
        draw: random hex digits; every test is a message of its own.
    """
    line = f"a test notification of run {run}; nothing has happened"
    return Message(f"msg_{draw}", 0, now_ms, "notify.test", run, line, {})
