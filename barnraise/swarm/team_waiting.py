"""When a member that is done training begins to average: once all who train with it are done, or time is up.

    training --done--> ready --averaged, or sent alone--> gone

Members say in the team's DHT what they do about one base in one round. Nobody waits longer than its owner
allows, and nobody waits for members that are gone or that nothing was heard of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["DOINGS", "Begin", "GoAlone", "KeepWaiting", "averaging_may_take_s", "begin_or_wait"]

Doing = Literal["training", "ready", "gone"]
DOINGS: tuple[Doing, ...] = ("training", "ready", "gone")
"""In the order in which a member goes through them; it never goes back."""

HEARD_AFTER_S = 3.0
SETUP_S = 60.0
SLOWEST_BYTES_PER_S = 250_000


@dataclass(frozen=True, slots=True)
class Begin:
    """Average now, with those who are ready."""

    reason: str


@dataclass(frozen=True, slots=True)
class GoAlone:
    """There is nobody to average with."""

    reason: str


@dataclass(frozen=True, slots=True)
class KeepWaiting:
    """Look again in a moment."""

    reason: str


def begin_or_wait(doings: Mapping[str, str], own: str, waited_s: float, wait_s: float) -> Begin | GoAlone | KeepWaiting:
    """What to do now.

    Args:
        doings: member -> what it says that it does, one's own among them.
        waited_s: since one's own unit was done. wait_s: the most that the owner wants to wait.
    """
    others = {member: doing for member, doing in doings.items() if member != own}
    ready = sum(doing == "ready" for doing in others.values())
    training = sum(doing == "training" for doing in others.values())
    if ready and not training:
        return Begin(f"all {ready + 1} members who trained with this base are ready")
    if not ready and not training:
        if waited_s < min(HEARD_AFTER_S, wait_s):
            return KeepWaiting("no other member was heard of yet")
        gone = f"; {len(others)} went before" if others else ""
        return GoAlone(f"no other member of the team trains with this base now{gone}")
    if waited_s < wait_s:
        return KeepWaiting(f"waiting for {training} of {ready + training + 1} members, {wait_s - waited_s:.0f} s more")
    if ready:
        return Begin(f"{ready + 1} members are ready; {training} did not come within {wait_s:.0f} s")
    others_are = "1 other member" if training == 1 else f"{training} other members"
    return GoAlone(f"{others_are} still trained after {wait_s:.0f} s of waiting")


def averaging_may_take_s(size: int, members: int) -> float:
    """How long averaging may take once it begins: setting up, and all vectors over a slow line twice.

    Args:
        size: elements of the vector.
    """
    return SETUP_S + 2 * 4 * size * max(members, 2) / SLOWEST_BYTES_PER_S
