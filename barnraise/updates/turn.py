"""Elements in turn: every round moves a share of all elements, another one each round.

Every tensor is cut into blocks of as many neighbouring elements as there are turns. In ``turns`` rounds, a
cycle, every element of a block has one turn; with which of them a cycle begins is drawn for each block
anew. So every round moves the same share of every chunk, no byte says which elements these are,
and whoever knows the number of the round knows them, from integer arithmetic alone. The last
block of a tensor may be short; some rounds have no element of it.

What does not have its turn stays in the residual, which is therefore of all elements. All updates of a
round meet in the same elements.

What travels goes along with the whole space: segment ``i`` holds those elements of segment ``i`` that have
their turn, tensor by tensor. So an update or a patch is decoded segment by segment.

P  elements of a segment of the whole space
Q  those of them that have their turn
B  blocks
T  tensors

Source: random masks that both sides draw from one seed, Konecny et al. 2016,
    https://arxiv.org/abs/1610.05492; parts of a model that take turns, Streaming DiLoCo (Douillard et al. 2025,
    https://arxiv.org/abs/2501.18512); draws as in SplitMix, Steele, Lea and Flood 2014, "Fast Splittable
    Pseudorandom Number Generators", with the finalizer's constants by David Stafford (mix 13).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.scope import TURN_END, TURNS, Read, Scope, placed, take_whole
from barnraise.updates.space import ParameterSpace, Piece, TensorSpec

__all__ = ["Turn"]

STRIDE = 1 << 13  # blocks that are drawn at once: what that needs stays in the processor's cache
_STEP = 0x9E3779B97F4A7C15  # between the states of two draws: 2 ** 64 divided by the golden ratio, odd
_MIX = (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9), np.uint64(27), np.uint64(0x94D049BB133111EB), np.uint64(31))


@dataclass(frozen=True)
class Turn:
    """The elements of ``whole`` that have their turn in one round.

    Attributes:
        turns: rounds of a cycle; a power of two.
        number: of the round.
    """

    whole: ParameterSpace
    turns: int
    number: int

    def __post_init__(self) -> None:
        assert self.turns in TURNS, self.turns
        assert 0 <= self.number < TURN_END, self.number

    @property
    def scope(self) -> Scope:
        return Scope.in_turn(self.turns, self.number)

    @property
    def chosen(self) -> tuple[bool, ...]:
        """Every tensor: each has elements that have their turn, if not in this round then in another of the cycle."""
        return (True,) * len(self.whole.tensors)

    @property
    def target(self) -> ParameterSpace:
        return self.whole

    @cached_property
    def per_tensor(self) -> tuple[int, ...]:
        """How many elements of each tensor have their turn."""
        full_T, rest_T = np.divmod(np.diff(self.whole.tensor_starts), self.turns)
        last_T = self._places(self._first_blocks[:-1] + full_T)
        return tuple((full_T + (last_T < rest_T)).tolist())

    @cached_property
    def space(self) -> ParameterSpace:
        """What has its turn, tensor by tensor within each segment, cut into as many segments as the whole space."""
        specs, cuts = [], [0]
        left = list(self.per_tensor)
        for segment in range(self.whole.segment_count):
            chunks = cuts[-1]
            for piece in self.whole.pieces(segment):
                count = min(left[piece.tensor], self._blocks(piece))
                left[piece.tensor] -= count
                if count:
                    name = self.whole.tensors[piece.tensor].name
                    said = f"{name} from {segment} on, turn {self.number} of {self.turns}"
                    specs.append(TensorSpec(said, (count,)))
                    chunks += ParameterSpace((specs[-1],)).chunk_count
            cuts.append(chunks)
        return ParameterSpace(tuple(specs), tuple(cuts))

    def positions(self, segment: int) -> NDArray[np.int64]:
        """int64 [Q], strictly increasing: what has its turn of a segment of the whole space; not to be written to.

        Those of one segment are kept, for all updates of a round want the same ones.
        """
        found_Q = self._kept.get(segment)
        if found_Q is None:
            found_Q = self._positions(segment)
            self._kept.clear()
            self._kept[segment] = found_Q
        return found_Q

    def _positions(self, segment: int) -> NDArray[np.int64]:
        pieces = self.whole.pieces(segment)
        if not pieces:
            return np.zeros(0, dtype=np.int64)
        found_B = np.concatenate([np.arange(p.start, p.end, self.turns, dtype=np.int64) for p in pieces])
        first = self._first_block(pieces[0])
        for at in range(0, len(found_B), STRIDE):
            some_B = found_B[at : at + STRIDE]
            some_B += self._places(np.arange(first + at, first + at + len(some_B), dtype=np.int64))
        ends_R = np.array([piece.end for piece in pieces], dtype=np.int64)
        lasts_R = np.cumsum([self._blocks(piece) for piece in pieces]) - 1
        beyond = lasts_R[found_B[lasts_R] >= ends_R]  # short blocks whose place is not there
        return np.delete(found_B, beyond) if len(beyond) else found_B

    def take(self, segment: int, values_P: NDArray[np.float32]) -> NDArray[np.float32]:
        """What has its turn of a segment of the whole space, a new float32 [Q]."""
        return values_P.take(self.positions(segment))

    def expand(self, segment: int, read: Read) -> NDArray[np.float32]:
        """A segment of the whole space, float32 [P]: values of what has its turn, and zeros."""
        start, end = self.whole.segment_range(segment)
        return placed(end - start, self.positions(segment), self.values(segment, read))

    def values(self, segment: int, read: Read) -> NDArray[np.float32]:
        """What has its turn of a segment of the whole space, float32 [Q]."""
        return read(*self.space.segment_range(segment))

    def cut(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """What has its turn of a whole model, one new flat vector of ``space``."""
        return take_whole(self, self.whole, flat, self.space.size)

    def put(self, values: NDArray[np.float32], flat: NDArray[np.float32]) -> None:
        """Write a vector of ``space`` to where it belongs in a whole model; what does not have its turn stays."""
        assert values.shape == (self.space.size,), (values.shape, self.space.size)
        for segment in range(self.whole.segment_count):
            part_P = flat[slice(*self.whole.segment_range(segment))]
            part_P[self.positions(segment)] = values[slice(*self.space.segment_range(segment))]

    @cached_property
    def _kept(self) -> dict[int, NDArray[np.int64]]:
        return {}

    @cached_property
    def _first_blocks(self) -> NDArray[np.int64]:
        """The number of every tensor's first block among those of the whole space."""
        sizes = np.diff(self.whole.tensor_starts)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(-(-sizes // self.turns), dtype=np.int64)])

    def _blocks(self, piece: Piece) -> int:
        """How many blocks a piece has, with one that may be short."""
        return -(-(piece.end - piece.start) // self.turns)

    def _first_block(self, piece: Piece) -> int:
        """The number of the first block of a segment, which begins with a piece; the others follow it."""
        inside = piece.place - int(self.whole.tensor_starts[piece.tensor])
        assert inside % self.turns == 0, "a segment begins within a block"
        return int(self._first_blocks[piece.tensor]) + inside // self.turns

    def _places(self, blocks_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which element of each block has its turn, int64 [B] in ``[0, turns)``; blocks by their numbers."""
        cycle, within = divmod(self.number, self.turns)
        states_B = (blocks_B + 1).astype(np.uint64) * np.uint64(_STEP)
        draws_B = _mixed(_mixed(np.array([cycle + 1], dtype=np.uint64)) + states_B)
        places_B: NDArray[np.int64] = (np.uint64(within) - draws_B & np.uint64(self.turns - 1)).astype(np.int64)
        return places_B


def _mixed(states_B: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers of which every bit depends on every bit of the state, uint64 [B]; one for each state."""
    shift, factor, second_shift, second_factor, last_shift = _MIX
    mixed_B = (states_B ^ states_B >> shift) * factor
    mixed_B = (mixed_B ^ mixed_B >> second_shift) * second_factor
    return mixed_B ^ mixed_B >> last_shift
