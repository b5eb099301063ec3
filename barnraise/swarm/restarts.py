"""When a sidecar that ended is started again: after a pause that doubles, for as long as anybody wants it.

Nothing depends on a sidecar, so there is no giving up; a pause of some minutes costs nothing. One that held
for a while is forgiven what came before.
"""

from __future__ import annotations

from dataclasses import dataclass

from barnraise.doubling import doubled_s

__all__ = ["Restart", "Restarts"]

FIRST_S = 1.0
CAP_S = 300.0
FORGIVEN_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class Restart:
    """How long to wait, and why in one sentence."""

    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often in a row a sidecar has ended. :meth:`after` decides.

    Attributes:
        count: ends in a row, none of which came after ``FORGIVEN_AFTER_S`` of service.
    """

    count: int = 0

    def after(self, served_s: float, how: str) -> tuple[Restarts, Restart]:
        """The record with one more end, and what follows from it.

        Args:
            served_s: how long it had been ready; 0 if it never was.
            how: it ended, as part of a sentence.
        """
        count = 1 if served_s >= FORGIVEN_AFTER_S else self.count + 1
        wait_s = doubled_s(count, first_s=FIRST_S, longest_s=CAP_S)
        return Restarts(count), Restart(wait_s, f"{how}; starting it again in {wait_s:.0f} s")
