"""Did averaging happen? Every member states a few numbers of what it puts in, and all check what came out.

Inner products are linear: those of the average are the weighted mean of the members'. They are taken with
vectors of +1 and -1 that follow from the run, the round and the base, so any other result (one member's part
missing, 8-bit codecs that broke silently, one's own vector unchanged) has other ones. float32 rounding moves
them by no more than a few millionths of the members' lengths, which is what is allowed.

How wide that is: adding up K vectors and coming back as a difference rounds each element K + 4 times, by 2^-24
of a member's element at most, so the error is a vector of length (K + 4) * 2^-24 * (sum of lengths) at most. Its
inner product with random signs is above ALLOWED of its lengths with probability 2 exp(-ALLOWED^2 / 2), 3e-8.

K  members, P  elements

Source: the bound is Hoeffding's, 1963; the check after Freivalds, 1977, for products of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from barnraise.errors import BarnraiseError
from barnraise.message import Signed
from barnraise.team_messages import MEMBERS_MAX, PROBES, TeamShare

__all__ = ["Member", "Together", "draw_of", "fault_of_result", "fault_of_shares", "leader_of", "members_of", "stated"]

ALLOWED = 6.0
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Together:
    """What all members of an average must agree on."""

    run: str
    round: int
    base_digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """A share whose signature was checked, and the key that signed it."""

    key: str
    share: TeamShare
    signed: Signed


@dataclass(frozen=True, slots=True)
class Draw:
    """The probing vectors of one average; every member draws the same."""

    seed: bytes

    def products(self, vector_P: NDArray[np.float32]) -> tuple[float, ...]:
        """Inner products of a vector, float32 [P], with each of them, in float64."""
        return tuple(self._product(vector_P, number) for number in range(PROBES))

    def _product(self, vector_P: NDArray[np.float32], number: int) -> float:
        stream = blake3(self.seed + bytes([number]))
        total = 0.0
        for at in range(0, len(vector_P), BLOCK):
            block = vector_P[at : at + BLOCK].astype(np.float64)
            drawn = np.frombuffer(stream.digest(length=-(-len(block) // 8), seek=at // 8), dtype=np.uint8)
            minus = np.unpackbits(drawn, count=len(block)).view(np.bool_)
            total += float(block.sum()) - 2.0 * float(block[minus].sum())
        return total


def draw_of(together: Together) -> Draw:
    """What is drawn for an average."""
    said = f"{together.run}\0{together.round}\0{together.base_digest}\0{together.size}".encode()
    return Draw(blake3(said, derive_key_context="barnraise team probes 1").digest())


def stated(together: Together, vector_P: NDArray[np.float32]) -> tuple[float, tuple[float, ...]]:
    """Length and inner products of what a member puts in, as its share states them."""
    length = math.sqrt(sum(float(np.square(part.astype(np.float64)).sum()) for part in _blocks(vector_P)))
    return length, draw_of(together).products(vector_P)


def members_of(shares: Sequence[Signed]) -> tuple[Member, ...] | str:
    """The shares, opened, in the order of their keys; or what is wrong with one."""
    found = []
    for signed in shares:
        try:
            found.append(Member(signed.key, signed.open(TeamShare), signed))
        except (BarnraiseError, ValueError) as error:  # the latter of numbers that are none
            return f"the share of member {signed.key[:8]} is none: {error}"
    return tuple(sorted(found, key=lambda member: member.key))


def fault_of_shares(together: Together, members: Sequence[Member], own: str) -> str:
    """Why these shares are no average, as a sentence; "" when they are one.

    Args:
        own: key of the member who asks.
    """
    keys = [member.key for member in members]
    if not 2 <= len(keys) <= MEMBERS_MAX:
        return f"{len(keys)} members averaged, 2 to {MEMBERS_MAX} can"
    if own not in keys:
        return "one's own share is missing from the average"
    if len(set(keys)) < len(keys) or len({member.share.lease_id for member in members}) < len(keys):
        return "a key or a lease is in the average twice; every machine of a team needs a key of its own"
    for member in members:
        share = member.share
        theirs = Together(share.run, share.round, share.base_digest, share.size)
        if theirs != together:
            return f"member {member.key[:8]} averaged something else: {_apart(together, theirs)}"
        if share.tokens < 1:
            return f"member {member.key[:8]} states no tokens, so nothing says what its share weighs"
    return ""


def fault_of_result(together: Together, members: Sequence[Member], result_P: NDArray[np.float32]) -> str:
    """Why a result is not the members' average, as a sentence; "" when it is."""
    if len(result_P) != together.size:
        return f"the average has {len(result_P):,} elements, {together.size:,} were put in"
    if not all(np.isfinite(part).all() for part in _blocks(result_P)):
        return "the average holds a NaN or an infinity, which no share of it stated"
    weights = [float(member.share.tokens) for member in members]
    allowed = ALLOWED * (len(members) + 4) * 2.0**-24 * sum(member.share.norm for member in members)
    for number, found in enumerate(draw_of(together).products(result_P)):
        wanted = sum(w * member.share.probes[number] for w, member in zip(weights, members, strict=True)) / sum(weights)
        if not abs(found - wanted) <= allowed:
            return (
                f"the result is not the average of {len(members)} members: probe {number + 1} is {found:.6g}, theirs "
                f"make {wanted:.6g}, and rounding explains {allowed:.2g}"
            )
    return ""


def leader_of(members: Sequence[Member]) -> str:
    """The key of whoever sends the average: the smallest, so that the same machine keeps what its codec leaves out."""
    return min(member.key for member in members)


def _apart(wanted: Together, found: Together) -> str:
    names = ("run", "round", "base_digest", "size")
    return ", ".join(
        f"{name} {getattr(found, name)!s:.20} and not {getattr(wanted, name)!s:.20}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    )


def _blocks(vector_P: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [vector_P[at : at + BLOCK] for at in range(0, len(vector_P), BLOCK)]
