"""A unit's change, averaged with those of the team; or a reason why this machine sends its own alone.

    change --> finite? --> share, signed --> average --> shares agree? --> finite? --> is it the average?
                 |                              |             |               |               |
                 +------------------------------+-------------+---------------+---------------+--> alone, and why

Nothing here is waited for longer than the lease allows: an update that is late counts for nobody. The member with
the smallest key sends for all. The others keep what they made alone until the hold is over, and send it if by then
the coordinator has nothing of the team.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import SwarmError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import Lease
from barnraise.swarm.team_checks import (
    Member,
    Together,
    fault_of_result,
    fault_of_shares,
    leader_of,
    members_of,
    stated,
)
from barnraise.team_messages import TeamShare
from contributor.swarm.status import SwarmTally

__all__ = ["Alone", "Averaged", "Exchange", "Share", "Teamwork", "Window", "window_of"]

HOLD_S = 20.0
SPARE_S = 10.0
LEAST_S = 10.0


@dataclass(frozen=True, slots=True)
class Window:
    """How long a member may take: to wait for others, and until everything of it is over.

    Attributes:
        until_ms: when the lease is over, and nobody is interested any more.
    """

    wait_s: float
    total_s: float
    until_ms: int


@dataclass(frozen=True)
class Share:
    """What a unit brings: the vector to average, float32 [P], and what was trained for it."""

    lease: Lease
    vector_P: NDArray[np.float32]
    tokens: int
    examples: int
    steps: int


@dataclass(frozen=True)
class Averaged:
    """The team's average, float32 [P].

    Attributes:
        leads: this machine sends it; otherwise another one does, by ``held_until_ms``.
    """

    vector_P: NDArray[np.float32]
    members: tuple[Member, ...]
    leads: bool
    held_until_ms: int

    @property
    def shares(self) -> tuple[Signed, ...]:
        """For the envelope."""
        return tuple(member.signed for member in self.members)


@dataclass(frozen=True, slots=True)
class Alone:
    """This machine sends what it has trained itself. ``reason`` says why."""

    reason: str


class Exchange(Protocol):
    """How vectors get from member to member."""

    def begin(self, together: Together, until_ms: int) -> None:
        """Tell the others that a unit is being trained, which is of no interest after ``until_ms``. Returns at once."""

    def average(
        self, together: Together, vector_P: NDArray[np.float32], share: Signed, window: Window
    ) -> tuple[NDArray[np.float32], list[Signed]]:
        """The mean, weighted by tokens, of what members put in, and the share of each.

        Raises:
            SwarmError: there is none, and why.
        """


def window_of(until_ms: int, now_ms: int, wait_s: float) -> Window | Alone:
    """How long averaging may take.

    Args:
        until_ms: the lease is over. wait_s: the most that the owner wants to wait for others.
    """
    left_s = (until_ms - now_ms) / 1000
    total_s = left_s - HOLD_S - SPARE_S
    if total_s < LEAST_S:
        return Alone(
            f"the lease has {max(left_s, 0):.0f} s left, averaging and sending take {HOLD_S + SPARE_S + LEAST_S:.0f}"
        )
    return Window(min(wait_s, total_s / 2), total_s, until_ms)


@dataclass(frozen=True)
class Teamwork:
    """What a node does with its team.

    Attributes:
        run: its name. identity: of the contributor. wait_s: the most to wait for others.
        tally: what came of it, for the owner.
    """

    run: str
    identity: Identity
    exchange: Exchange
    now_ms: Callable[[], int]
    wait_s: float
    tally: SwarmTally

    def begin(self, lease: Lease, size: int) -> None:
        """A unit begins, whose vector has ``size`` elements."""
        self.exchange.begin(self._together(lease, size), lease.expires_at_ms)

    def average(self, unit: Share) -> Averaged | Alone:
        """Average a unit that is trained, or say why not; counted either way."""
        found = self._average(unit)
        if isinstance(found, Alone):
            self.tally.add("team", alone=1)
            self.tally.note("team", last=f"Sent alone: {found.reason}")
        else:
            self.tally.add("team", averaged=1)
            names = ", ".join(member.key[:8] for member in found.members)
            self.tally.note("team", last=f"Averaged with {names}")
        return found

    def _average(self, unit: Share) -> Averaged | Alone:
        together = self._together(unit.lease, len(unit.vector_P))
        window = window_of(unit.lease.expires_at_ms, self.now_ms(), self.wait_s)
        if isinstance(window, Alone):
            return window
        if not np.isfinite(unit.vector_P).all():
            return Alone("one's own change holds a NaN or an infinity, which would spoil everybody's")
        share = self._share(unit, together)
        try:
            result_P, shares = self.exchange.average(together, unit.vector_P, share, window)
        except SwarmError as error:
            return Alone(str(error))
        members = members_of(shares)
        if isinstance(members, str):
            return Alone(members)
        own = self.identity.public
        fault = fault_of_shares(together, members, own) or fault_of_result(together, members, result_P)
        if fault:
            return Alone(fault)
        held_until_ms = min(self.now_ms() + int(HOLD_S * 1000), unit.lease.expires_at_ms - int(SPARE_S * 1000))
        return Averaged(result_P, members, leader_of(members) == own, held_until_ms)

    def _together(self, lease: Lease, size: int) -> Together:
        return Together(self.run, lease.round, lease.base_digest, size)

    def _share(self, unit: Share, together: Together) -> Signed:
        norm, probes = stated(together, unit.vector_P)
        share = TeamShare(
            run=together.run,
            lease_id=unit.lease.lease_id,
            round=together.round,
            base_digest=together.base_digest,
            size=together.size,
            tokens=unit.tokens,
            examples=unit.examples,
            steps=unit.steps,
            norm=norm,
            probes=probes,
            at_ms=self.now_ms(),
        )
        return Signed.make(share, self.identity)
