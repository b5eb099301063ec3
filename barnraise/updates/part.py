"""Some tensors of a model: what updates say something about where the others do not train.

A part has a space of its own, with the chosen tensors alone. Its segments go along with those of the
whole space: segment ``i`` of the part holds the chosen elements of segment ``i``, and nothing where
there are none. So a segment of an update is still one segment to decode, what does not train costs no
byte under any codec, and a model's tensors that an update cannot address cannot be changed by it.

P  elements of a segment of the whole space
Q  those of them that are chosen
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import ConfigValueError
from barnraise.updates.scope import Read, Scope
from barnraise.updates.space import ParameterSpace, Piece

__all__ = ["Part"]

NEAREST = 3


@dataclass(frozen=True)
class Part:
    """Which tensors of ``whole`` an update addresses.

    Attributes:
        chosen: one for each tensor of the space, in its order; at least one is true.
    """

    whole: ParameterSpace
    chosen: tuple[bool, ...]

    def __post_init__(self) -> None:
        assert len(self.chosen) == len(self.whole.tensors), (len(self.chosen), len(self.whole.tensors))
        assert any(self.chosen), "no tensor is chosen"

    @classmethod
    def of(cls, whole: ParameterSpace, patterns: Sequence[str]) -> Part | None:
        """The tensors that patterns match, as a shell matches names; None where that is all of them.

        Args:
            patterns: none of them means every tensor.

        Raises:
            ConfigValueError: a pattern matches nothing.
        """
        names = [spec.name for spec in whole.tensors]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigValueError(f"update.train: no tensor is called {pattern!r}{_nearest(pattern, names)}")
        chosen = tuple(not patterns or any(fnmatchcase(name, pattern) for pattern in patterns) for name in names)
        return None if all(chosen) else cls(whole, chosen)

    @cached_property
    def space(self) -> ParameterSpace:
        """The chosen tensors, cut into as many segments as the whole space has."""
        per_tensor = np.diff(np.searchsorted(self.whole.chunk_starts, self.whole.tensor_starts))
        chosen_C = np.repeat(np.array(self.chosen, dtype=bool), per_tensor)
        before_C = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(chosen_C, dtype=np.int64)])
        edges = [self.whole.segment_chunks(segment)[0] for segment in range(self.whole.segment_count)]
        cuts = before_C[[*edges, self.whole.chunk_count]]
        return ParameterSpace(
            tuple(spec for spec, wanted in zip(self.whole.tensors, self.chosen, strict=True) if wanted),
            tuple(cuts.tolist()),
        )

    @property
    def scope(self) -> Scope:
        return Scope(np.packbits(self.chosen).tobytes().hex())

    @property
    def target(self) -> ParameterSpace:
        return self.space

    def expand(self, segment: int, read: Read) -> NDArray[np.float32]:
        """A segment of the model, float32 [P]: the chosen elements, and zeros."""
        first, last = self.whole.segment_range(segment)
        out_P = np.zeros(last - first, dtype=np.float32)
        start, end = self.space.segment_range(segment)
        if start < end:
            self.put(segment, read(start, end), out_P)
        return out_P

    def values(self, segment: int, read: Read) -> NDArray[np.float32]:
        """The chosen elements of a segment of the model, float32 [Q]."""
        return read(*self.space.segment_range(segment))

    def pieces(self, segment: int) -> tuple[Piece, ...]:
        """The pieces of a segment of the whole space whose elements are chosen."""
        return tuple(piece for piece in self.whole.pieces(segment) if self.chosen[piece.tensor])

    def take(self, segment: int, values_P: NDArray[np.float32]) -> NDArray[np.float32]:
        """The chosen elements of a segment, a new float32 [Q]."""
        found = [values_P[piece.start : piece.end] for piece in self.pieces(segment)]
        return np.concatenate([np.zeros(0, np.float32), *found])

    def put(self, segment: int, values_Q: NDArray[np.float32], out_P: NDArray[np.float32]) -> None:
        """Write the chosen elements of a segment to where they belong in float32 [P]."""
        at = 0
        for piece in self.pieces(segment):
            size = piece.end - piece.start
            out_P[piece.start : piece.end] = values_Q[at : at + size]
            at += size

    def positions(self, segment: int) -> NDArray[np.int64]:
        """int64 [Q], strictly increasing: where the chosen elements lie in a segment of the whole space."""
        found = [np.arange(piece.start, piece.end, dtype=np.int64) for piece in self.pieces(segment)]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def cut(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """The chosen tensors of a whole model, one new flat vector of ``space``."""
        tensors = self.whole.unflatten(flat)
        return self.space.flatten({spec.name: tensors[spec.name] for spec in self.space.tensors})


def _nearest(pattern: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(pattern, names, NEAREST, 0.0)
    return f"; the nearest are {', '.join(near)}" if near else ""
