"""Whether a node that met a fault of its own tries again, and when: decided purely.

A fault that nobody foresaw may be gone the next time: a driver that hiccuped, a file that was half there, an answer
that nobody thought of. So a node does not end for one. It may also come back for ever, so a node does not try for
ever either, and warms no room for nothing.

    a receipt since the last crash          all is forgiven: it contributes
    an hour of work since the last crash    the count is forgiven, not the place
    the same fault, same place, 3 times     give up: the next time would be no different
    6 crashes in a row                      give up
"""

from __future__ import annotations

from dataclasses import dataclass

from barnraise.doubling import doubled_s

__all__ = ["Crashes", "Retry"]

FIRST_S = 30.0
CAP_S = 300.0
FORGIVEN_AFTER_S = 3600.0
SAME_MAX = 3
CRASHES_MAX = 6


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to wait, None for not to try again; and why, as a clause that can end a sentence."""

    wait_s: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Crashes:
    """What is remembered of a node's crashes. :meth:`after` decides.

    Attributes:
        count: in a row, without a receipt or an hour of work between two.
        place: of the last one: which exception, raised where.
        same: how often in a row it was that place, without a receipt between two.
    """

    count: int = 0
    place: str = ""
    same: int = 0

    def after(self, place: str, *, worked_s: float, received: int) -> tuple[Crashes, Retry]:
        """The record with one more crash, and what follows from it.

        Args:
            place: which exception, raised where.
            worked_s: how long the node had worked since it began, or began again.
            received: units that got a receipt in that time.
        """
        count = 1 if received or worked_s >= FORGIVEN_AFTER_S else self.count + 1
        same = self.same + 1 if place == self.place and not received else 1
        crashes = Crashes(count, place, same)
        if same >= SAME_MAX:
            return crashes, Retry(None, f"gave up after the same fault {same} times in a row, with no unit between")
        if count >= CRASHES_MAX:
            return crashes, Retry(None, f"gave up after {count} crashes in a row")
        wait_s = doubled_s(count, first_s=FIRST_S, longest_s=CAP_S)
        again = f" (crash {count} of {CRASHES_MAX} in a row)" if count > 1 else ""
        return crashes, Retry(wait_s, f"trying again in {wait_s:.0f} s{again}")
