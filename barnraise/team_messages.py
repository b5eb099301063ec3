"""What members of a team say to each other and, in the envelope of what one of them sends, to the coordinator."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from barnraise.message import Count, Digest, LeaseId, Message, Millis, Number

__all__ = ["MEMBERS_MAX", "PROBES", "TeamShare"]

MEMBERS_MAX = 16
"""Of a team, in one average: every one of them is looked up when an update is announced."""

PROBES = 4


class TeamShare(Message):
    """What one member puts into an average. Signed by the member, with the key that its lease was given to.

    Attributes:
        size: elements of the vector that is averaged.
        tokens, examples, steps: as in the envelope of an update.
        norm: length of the vector. probes: its inner products with vectors that all members can draw
            (barnraise/swarm/team_checks.py). Both in float64.
    """

    kind: ClassVar[str] = "team-share"
    run: str
    lease_id: LeaseId
    round: Count
    base_digest: Digest
    size: Count
    tokens: Count
    examples: Count
    steps: Count
    norm: Annotated[Number, Field(ge=0)]
    probes: Annotated[tuple[Number, ...], Field(min_length=PROBES, max_length=PROBES)]
    at_ms: Millis
