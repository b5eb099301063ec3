"""What an update says something about, as its header names it; and what its arrays hold then.

Most updates say something about every element. Others keep to some tensors of the base, named by one
bit each in the order of the parameter space. The bits are there only where they leave something out,
so a scope has one name. With a rank, what travels is factors in place of those tensors;
with a mask, the values of its entries; with turns, of the elements that have their turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import is_digest
from barnraise.errors import UnsupportedFormatError
from barnraise.update_config import Turns
from barnraise.updates.space import ParameterSpace

__all__ = ["EVERYWHERE", "SCOPE_KEYS", "TURNS", "TURN_END", "Carrier", "Read", "Scope", "placed", "take_whole"]

Read = Callable[[int, int], NDArray[np.float32]]
"""Elements ``[start, end)`` of what the arrays hold, float32."""

SCOPE_KEYS = frozenset({"tensors", "rank", "mask", "turns", "turn"})
TURNS: tuple[int, ...] = get_args(Turns)
TURN_END = 1 << 31  # numbers of rounds are below it
_RANK = re.compile(r"[1-9][0-9]{0,3}\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_HEX = re.compile(r"(?:[0-9a-f]{2})+\Z")


class Carrier(Protocol):
    """How a model's change follows from what travels."""

    @property
    def scope(self) -> Scope:
        """As the header names it."""

    @property
    def space(self) -> ParameterSpace:
        """What the arrays of the update hold; as many segments as the update has."""

    @property
    def chosen(self) -> tuple[bool, ...]:
        """Which tensors of the model the update addresses."""

    @property
    def target(self) -> ParameterSpace:
        """Layout of the changes that travel so: what is addressed, and no more."""

    def expand(self, segment: int, read: Read) -> NDArray[np.float32]:
        """A segment of the model from what travels, a new float32 [P]; 0 where nothing is addressed."""

    def values(self, segment: int, read: Read) -> NDArray[np.float32]:
        """What :meth:`expand` has at :meth:`positions`, float32 [N]."""

    def take(self, segment: int, values_P: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is addressed of a segment of the model, a new float32 [N]."""

    def positions(self, segment: int) -> NDArray[np.int64]:
        """int64 [N], strictly increasing: what is addressed of a segment of the model."""


def placed(size: int, positions_N: NDArray[np.int64], values_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values at their positions, and zeros elsewhere: a new float32 [size]."""
    out_P = np.zeros(size, dtype=np.float32)
    out_P[positions_N] = values_N
    return out_P


def take_whole(carrier: Carrier, whole: ParameterSpace, flat: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """What is addressed of a whole model, float32 of ``whole``: one new flat vector of so many elements."""
    assert flat.shape == (whole.size,), (flat.shape, whole.size)
    out, at = np.empty(size, dtype=np.float32), 0
    for segment in range(whole.segment_count):
        taken_N = carrier.take(segment, flat[slice(*whole.segment_range(segment))])
        out[at : at + len(taken_N)] = taken_N
        at += len(taken_N)
    assert at == size, (at, size)
    return out


@dataclass(frozen=True, slots=True)
class Scope:
    """What a header says of it.

    Attributes:
        tensors: a bit for every tensor of the base, hexadecimal; None where all are addressed.
        rank: of the factors that travel in place of matrices; None where their elements do.
        mask: digest of a mask; None where more is addressed.
        turns: rounds in which every element has one turn; None where elements do not take turns.
        turn: number of the round whose elements travel; where ``turns`` is.
    """

    tensors: str | None = None
    rank: int | None = None
    mask: str | None = None
    turns: int | None = None
    turn: int | None = None

    @classmethod
    def in_turn(cls, turns: int | None, number: int) -> Scope:
        """Of the elements that have their turn in round ``number``; of all where ``turns`` is None."""
        return EVERYWHERE if turns is None else cls(turns=turns, turn=number)

    def metadata(self) -> dict[str, str]:
        said = {name: getattr(self, name) for name in SCOPE_KEYS}
        return {name: str(value) for name, value in said.items() if value is not None}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Scope:
        """The scope that a header names.

        Raises:
            UnsupportedFormatError: something that is no scope.
        """
        tensors = metadata.get("tensors")
        if "tensors" in metadata and not (isinstance(tensors, str) and _HEX.match(tensors)):
            raise UnsupportedFormatError("tensors is not a row of bits in hexadecimal digits")
        rank = metadata.get("rank")
        if "rank" in metadata and not (isinstance(rank, str) and _RANK.match(rank)):
            raise UnsupportedFormatError("rank is not a number of components")
        mask = metadata.get("mask")
        if "mask" in metadata and (
            not isinstance(mask, str) or not is_digest(mask) or len(metadata.keys() & SCOPE_KEYS) > 1
        ):
            raise UnsupportedFormatError("mask is not the digest of a mask alone")
        return cls(tensors, None if rank is None else int(rank), mask, *_turn_of(metadata))


def _turn_of(metadata: Mapping[str, Any]) -> tuple[int, int] | tuple[None, None]:
    """Turns of a cycle and the number of the one that travels, as a header names them.

    Raises:
        UnsupportedFormatError: no such thing, or beside something else.
    """
    named = metadata.keys() & SCOPE_KEYS
    if not named & {"turns", "turn"}:
        return None, None
    if named != {"turns", "turn"}:
        raise UnsupportedFormatError("turns and turn do not stand together and alone")
    turns, turn = metadata["turns"], metadata["turn"]
    if turns not in map(str, TURNS):
        raise UnsupportedFormatError(f"turns is none of {', '.join(map(str, TURNS))}")
    if not (isinstance(turn, str) and _NUMBER.match(turn) and int(turn) < TURN_END):
        raise UnsupportedFormatError("turn is not the number of a round")
    return int(turns), int(turn)


EVERYWHERE = Scope()
