"""What a unit has made, alone or with its team, from training to the envelope.

A team averages changes as training left them, before anything is compressed and without anybody's residual: what a
codec of one machine has left over is that machine's to send, at its full size, with its own next update. Where the
run asks for a Fisher, it is averaged along with the change, as the second half of one vector.

P  elements of what is sent
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from barnraise.protocol import UpdateEnvelope
from barnraise.team_messages import TeamShare
from contributor.swarm.teamwork import Alone, Averaged, Share, Teamwork
from contributor.unit import Wanted, Work

__all__ = ["Made", "average_unit", "averaged_size"]


@dataclass(frozen=True)
class Made:
    """A change, and a Fisher where the run asks for one; float32 [P] each.

    Attributes:
        team: the average with the team's, where that came about.
        shares: of the members whose average this is; none of what one machine made.
    """

    change_P: NDArray[np.float32]
    fisher_P: NDArray[np.float32] | None = None
    team: Averaged | None = None
    shares: tuple[TeamShare, ...] = ()

    @property
    def vector(self) -> NDArray[np.float32]:
        """What is averaged."""
        return self.change_P if self.fisher_P is None else np.concatenate([self.change_P, self.fisher_P])

    def of_team(self) -> Made:
        """The team's average in the place of one's own."""
        assert self.team is not None, "nothing was averaged"
        size, found_V = len(self.change_P), self.team.vector_P
        fisher_P = None if self.fisher_P is None else np.maximum(found_V[size:], np.float32(0))
        return replace(
            self,
            change_P=found_V[:size],
            fisher_P=fisher_P,
            shares=tuple(member.share for member in self.team.members),
        )

    def envelope(self, envelope: UpdateEnvelope) -> UpdateEnvelope:
        """What is said about it, from what would be said about one's own."""
        if not self.shares or self.team is None:
            return envelope
        sums = {name: sum(getattr(share, name) for share in self.shares) for name in ("tokens", "examples")}
        steps = max(share.steps for share in self.shares)
        return envelope.model_copy(update={**sums, "steps": steps, "team": self.team.shares})


def averaged_size(wanted: Wanted, *, fisher: bool = False) -> int:
    """Elements of the vector that a unit of this kind averages."""
    return wanted.target.size * (2 if fisher else 1)


def average_unit(team: Teamwork, own: Made, work: Work, steps: int, say: Callable[[str], None]) -> Made:
    """One's own, and the team's average beside it where that came about; what came of it is said."""
    examples = steps * work.lease.training.batch
    found = team.average(Share(work.lease, own.vector, work.tokens_in(examples), examples, steps))
    if isinstance(found, Alone):
        say(f"not averaged with the team: {found.reason}; this machine sends its own update")
        return own
    sends = "this machine sends" if found.leads else f"member {found.members[0].key[:8]} sends"
    others = len(found.members) - 1
    say(f"averaged with {others} other member{'' if others == 1 else 's'} of the team; {sends} the update of all")
    return replace(own, team=found)
