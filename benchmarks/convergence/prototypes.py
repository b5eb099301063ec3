"""A codec that the project does not have: what it would say, and how many bytes that would take.

An update of few AdamW steps is flat: its 64 largest of 4,096 elements hold a twentieth of its
energy, and naming a place costs seven bits. ``SignTurn`` names no places: a share of all
elements, drawn from the number of the round alone, has its turn and sends its signs; error
feedback keeps the rest until it has its turn. Everybody agrees on the places, so the signs of
all contributors meet in the same elements.

P  elements in the whole parameter space

Source: random masks that both sides draw from one seed, Konecny et al. 2016,
https://arxiv.org/abs/1610.05492; parts of a model that take turns, Streaming DiLoCo (Douillard et
al. 2025, https://arxiv.org/abs/2501.18512); signs with error feedback, Karimireddy et al. 2019,
https://arxiv.org/abs/1901.09847.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.space import ParameterSpace

__all__ = ["SignTurn"]

Vector = NDArray[np.float32]
SCALE_BYTES = 1  # a chunk: as top-k's codes


@dataclass(frozen=True)
class SignTurn:
    """Signs of every ``turns``-th element of a chunk, others each round; every element once in ``turns`` rounds."""

    turns: int

    def say(self, target_P: Vector, space: ParameterSpace, number: int) -> tuple[Vector, int]:
        """The decoded change, float32 [P], and the bytes of its payload; ``number`` is the round's."""
        order_P = np.random.default_rng(number // self.turns).permutation(space.size) % self.turns
        mine_P = order_P == number % self.turns
        sizes_P = np.where(mine_P, np.abs(target_P), np.float32(0))
        counts_C = np.add.reduceat(mine_P, space.chunk_starts[:-1])
        levels_C = np.add.reduceat(sizes_P, space.chunk_starts[:-1], dtype=np.float64) / np.maximum(counts_C, 1)
        levels_P = np.repeat(levels_C.astype(np.float32), np.diff(space.chunk_starts))
        size = int(np.ceil(mine_P.sum() / 8)) + SCALE_BYTES * space.chunk_count
        return np.where(mine_P, np.sign(target_P) * levels_P, np.float32(0)), size
