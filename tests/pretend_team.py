"""A team in memory: what other members put in, and an exchange that averages exactly, or goes wrong as a test wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import SwarmError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.swarm.team_checks import Together, stated
from barnraise.team_messages import TeamShare
from contributor.swarm.teamwork import Window

__all__ = ["PretendTeam"]

Spoiled = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass
class PretendTeam:
    """Implements ``contributor.swarm.teamwork.Exchange`` for one member, with one other.

    Attributes:
        other: the other member. tokens: that it states.
        spoil: done to the result.
        alone: why there is nobody; "" when there is.
        begun: units that were said to be trained. windows: that were allowed.
    """

    other: Identity
    tokens: int = 1000
    spoil: Spoiled = lambda result_P: result_P
    alone: str = ""
    begun: list[Together] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    vector_P: NDArray[np.float32] | None = None

    def begin(self, together: Together, until_ms: int) -> None:
        self.begun.append(together)

    def theirs(self, together: Together) -> NDArray[np.float32]:
        """What the other member has trained, float32 [P]."""
        draws = np.random.default_rng(together.round)
        vector_P: NDArray[np.float32] = (1e-3 * draws.standard_normal(together.size)).astype(np.float32)
        return vector_P

    def average(
        self, together: Together, vector_P: NDArray[np.float32], share: Signed, window: Window
    ) -> tuple[NDArray[np.float32], list[Signed]]:
        self.windows.append(window)
        if self.alone:
            raise SwarmError(self.alone)
        self.vector_P, theirs_P = vector_P.copy(), self.theirs(together)
        norm, probes = stated(together, theirs_P)
        told = {
            **share.body,
            "lease_id": f"{together.round:032x}",
            "tokens": self.tokens,
            "norm": norm,
            "probes": probes,
        }
        own = np.float32(share.body["tokens"])
        sum_P = own * vector_P + np.float32(self.tokens) * theirs_P
        result_P = self.spoil(sum_P / (own + np.float32(self.tokens)))
        return result_P, [share, Signed.make(TeamShare.read(told), self.other)]
