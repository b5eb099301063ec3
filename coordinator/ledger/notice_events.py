"""What became of notifications: which events a target was told of, and which it could not be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["NoticeEvent", "NoticeSettled", "NoticesBegun"]


@dataclass(frozen=True, slots=True)
class NoticesBegun:
    """A target is told of what happens after ``from_seq``."""

    kind: ClassVar[str] = "notices-begun"
    target: str
    from_seq: int

    @property
    def subject(self) -> str:
        return self.target


@dataclass(frozen=True, slots=True)
class NoticeSettled:
    """A target was told of the event ``seq``, or it was given up: then this is its dead letter.

    Attributes:
        message_id: the same at every attempt, so that the target can tell what it got twice.
        reason: what the target answered last.
        done_to: everything up to this event is settled for the target.
    """

    kind: ClassVar[str] = "notice-settled"
    target: str
    seq: int
    message_id: str
    delivered: bool
    attempts: int
    reason: str
    done_to: int

    @property
    def subject(self) -> str:
        return self.target


NoticeEvent = NoticesBegun | NoticeSettled
