"""A node that crashed works again, after a pause, from what is committed. Thin: crashes.py decides.

Folder, status, control socket and page are around this, so the owner can ask and command meanwhile; whatever the
work itself held is let go of before the pause begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from barnraise.errors import BarnraiseError
from contributor.crashes import Crashes
from contributor.events import NodeEvent, Waiting
from contributor.live import Life
from contributor.report import Crash, crash
from contributor.training.memory import let_go

__all__ = ["Comeback"]


@dataclass(frozen=True)
class Comeback:
    """How a node comes back.

    Attributes:
        life: what surrounds it: whoever may interrupt, and the events for a report.
        report: of that life.
        received: counts the receipts since the node began.
        devices: that it trains on; their memory is given back.
    """

    life: Life
    report: Callable[[NodeEvent], None]
    received: Callable[[], int]
    devices: Sequence[torch.device] = ()
    clock_s: Callable[[], float] = time.monotonic

    def run(self, work: Callable[[], str]) -> str:
        """Why the node stopped, in words, however often ``work`` was begun.

        Args:
            work: begins from what is on the disk, and obeys whoever asked it to stop.

        Raises:
            NodeCrashedError: another try would be no use, or nobody wants it; the last report is written.
            BarnraiseError: as ``work`` raises it.
        """
        crashes, interrupt = Crashes(), self.life.interrupt
        while True:
            began_s, before = self.clock_s(), self.received()
            try:
                return work()
            except (BarnraiseError, BrokenPipeError):
                raise
            except Exception as error:
                found = crash(error, self.life.folder.reports, self.life.flight, self.life.now_ms())
                worked_s = self.clock_s() - began_s
                crashes, retry = crashes.after(found.place, worked_s=worked_s, received=self.received() - before)
                if retry.wait_s is None or interrupt.finish:
                    raise found.error("" if interrupt.finish else retry.reason) from error
            self._wait(found, retry.wait_s, retry.reason)  # outside of the handler, where nothing holds the work
            if interrupt.stop and not interrupt.leave:
                return "asked to stop"

    def _wait(self, found: Crash, wait_s: float, reason: str) -> None:
        for device in self.devices:
            let_go(device)
        self.report(Waiting(f"crashed, {reason}; {found.line()}"))
        self.life.interrupt.wait(wait_s)
