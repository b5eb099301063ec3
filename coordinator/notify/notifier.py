"""One target's loop: look at what is new in the ledger, send what is due, record what came of it.

A thread a target, so that one that is slow or dead holds up no other, and a process of their own, so that
they hold up neither gateway nor conductor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event as StopEvent

from barnraise.errors import StorageError
from coordinator.ledger import Ledger
from coordinator.ledger.notice_events import NoticesBegun, NoticeSettled
from coordinator.notify.messages import message_of, notice_of
from coordinator.notify.outbox import Attempt, Outbox
from coordinator.notify.targets import Target

__all__ = ["Notifier", "taken_up"]

BATCH = 500
POLL_S = 1.0
LATER_S = 10.0
SETTLED_MAX = 10_000
_log = logging.getLogger("barnraise.notify")


class Notifier:
    """Tells one target.

    Args:
        clock: now, in milliseconds since the epoch.
    """

    def __init__(self, ledger: Ledger, run: str, target: Target, clock: Callable[[], int]) -> None:
        self._ledger = ledger
        self._run = run
        self._target = target
        self._clock = clock
        self._opened: tuple[Outbox, set[int]] | None = None
        self._unrecorded: NoticeSettled | None = None

    def run(self, stop: StopEvent) -> None:
        """Work until ``stop`` is set. A ledger that cannot be used for a while is waited for."""
        while not stop.is_set():
            try:
                busy = self.turn()
            except StorageError as error:
                _log.warning("%s waits for the ledger: %s", self._target.name, error)
                stop.wait(LATER_S)
                continue
            if not busy:
                stop.wait(POLL_S)

    def turn(self) -> bool:
        """Take in what is new, and make one attempt if one is due; whether one was.

        Raises:
            StorageError: the ledger cannot be used now; nothing is lost, the next turn goes on.
        """
        self._record()
        outbox = self._looked()
        due = outbox.next(self._clock())
        if not isinstance(due, Attempt):
            return False
        answer = self._target.send(due.message)
        outbox, self._unrecorded = outbox.answered(due, answer, self._clock())
        self._opened = (outbox, set())
        words = f"{self._target.name}, event {due.message.seq}, attempt {due.number}: {answer.reason}"
        (_log.info if answer.delivered else _log.warning)("%s", words)
        self._record()
        return True

    def _record(self) -> None:
        """Let the ledger know what was settled, also what it could not be told the last time."""
        if self._unrecorded is not None:
            self._ledger.record(self._unrecorded, at_ms=self._clock())
            self._unrecorded = None

    def _looked(self) -> Outbox:
        """The outbox with what is new in the ledger."""
        outbox, settled = self._opened or taken_up(self._ledger, self._target.name, self._clock())
        while batch := self._ledger.events_after(outbox.seen_to, BATCH):
            for recorded in batch:
                notice = notice_of(recorded)
                wanted = notice in self._target.events and recorded.seq not in settled
                message = message_of(recorded, notice, self._run) if notice is not None and wanted else None
                outbox = outbox.saw(recorded.seq, message)
        self._opened = (outbox, set())
        return outbox


def taken_up(ledger: Ledger, target: str, now_ms: int) -> tuple[Outbox, set[int]]:
    """Where a target's outbox stood when it was last open, and which later events are settled all the same.

    A target that is new is told of what happens from now on, and the ledger remembers since when.
    """
    kinds = (NoticesBegun.kind, NoticeSettled.kind)
    events = [recorded.event for recorded in ledger.events_about(target, kinds, SETTLED_MAX)]
    settled = [event for event in events if isinstance(event, NoticeSettled)]
    begun = [event.from_seq for event in events if isinstance(event, NoticesBegun)]
    if not settled and not begun:
        from_seq = ledger.last_seq()
        ledger.record(NoticesBegun(target, from_seq), at_ms=now_ms)
        return Outbox(target, from_seq), set()
    done_to = max([*begun, *(event.done_to for event in settled)])
    return Outbox(target, done_to), {event.seq for event in settled if event.seq > done_to}
