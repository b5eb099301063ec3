"""When a node does nothing: paused by its owner, by a policy, or for want of something; and what it says meanwhile."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import DiskFullError
from barnraise.releases.durable import quota_said
from contributor.events import NodeEvent, Resting, Waiting
from contributor.governor.wish import Advice
from contributor.interrupt import Interrupt, StopRequestedError

__all__ = ["PAUSED", "Rest"]

PAUSED = "paused by its owner; go on with: barnraise resume"
PAUSED_LOOK_S = 5.0
FULL_DISK_LOOK_S = 30.0


@dataclass(frozen=True)
class Rest:
    """Waits until owner and policies want work again."""

    interrupt: Interrupt
    advice: Advice
    report: Callable[[NodeEvent], None]

    def reason(self, *, transfer: bool = False) -> str | None:
        """Why not to work now; None when nothing is against it.

        Args:
            transfer: what is to be done is sending and fetching.
        """
        if self.interrupt.paused:
            return PAUSED
        wish = self.advice.wish()
        if not wish.work or (transfer and not wish.transfer):
            return f"resting: {wish.reason}"
        return None

    def take(self, *, busy: Callable[[], bool], transfer: bool = False) -> None:
        """Wait as long as there is a reason to, and say it whenever it changes.

        Args:
            busy: whether there is a unit to finish, for which the first Ctrl-C is waited through.

        Raises:
            StopRequestedError: a person asked to stop meanwhile.
        """
        said = None
        while (reason := self.reason(transfer=transfer)) is not None:
            if self.interrupt.stop or (self.interrupt.finish and not busy()):
                raise StopRequestedError
            if reason != said:
                said = reason
                self.report(Resting(reason))
            self._wait(self.interrupt.paused, busy())

    def for_want_of(self, what: str, look_again_s: float) -> None:
        """Say once what is waited for, and wait so long; through the first Ctrl-C, for there is a unit to finish.

        Raises:
            StopRequestedError: a person asked to stop meanwhile.
        """
        self.report(Waiting(what))
        self.interrupt.wait(look_again_s, until_stop=True)
        if self.interrupt.stop:
            raise StopRequestedError

    def for_room(self, what: str, error: DiskFullError, folder: Path) -> None:
        """Say that there is no room on the disk for something, and wait a while; as :meth:`for_want_of`.

        Where to look comes before what happened, which is longer: a line that is too long loses its end.
        """
        shown_by = f"df -h {shlex.quote(str(folder))}" if quota_said(error) is None else "quota -s"
        look = f"see: {shown_by}; looking again every {FULL_DISK_LOOK_S:.0f} s"
        self.for_want_of(f"{what} ({look}): {error}", FULL_DISK_LOOK_S)

    def _wait(self, paused: bool, is_busy: bool) -> None:
        """Until a policy should be asked again, the pause begins or ends, or the owner changes the policies."""
        seconds = PAUSED_LOOK_S if paused else self.advice.wish().look_again_s

        def over() -> bool:
            return self.interrupt.paused != paused or (not paused and self.advice.is_changed())

        self.interrupt.wait(seconds, until_stop=is_busy, until=over)
