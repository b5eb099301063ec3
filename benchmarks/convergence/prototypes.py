"""A codec that the project does not have: what it would say, and how many bytes that would take.

An update of few AdamW steps is flat: its 64 largest of 4,096 elements hold a twentieth of its
energy, and naming a place costs seven bits. ``InTurn`` names no places: a share of all
elements, drawn from the number of the round alone, has its turn and is sent in few bits; error
feedback keeps the rest until it has its turn. Everybody agrees on the places, so what
all contributors say meets in the same elements, and a release moves no others.

P  elements in the whole parameter space
C  chunks

Source: random masks that both sides draw from one seed, Konecny et al. 2016,
https://arxiv.org/abs/1610.05492; parts of a model that take turns, Streaming DiLoCo (Douillard et
al. 2025, https://arxiv.org/abs/2501.18512); signs with error feedback, Karimireddy et al. 2019,
https://arxiv.org/abs/1901.09847; steps of a uniform quantiser of normal values, Max 1960, "Quantizing for Minimum
Distortion".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.space import ParameterSpace

__all__ = ["InTurn"]

Vector = NDArray[np.float32]
SCALE_BYTES = 1  # a chunk: as top-k's codes
STEPS = {2: 0.9957, 3: 0.5860, 4: 0.3352}  # of the root mean square


@dataclass(frozen=True)
class InTurn:
    """Every ``turns``-th element of a chunk, others each round; every element once in ``turns`` rounds.

    Attributes:
        bits: of an element: a sign alone, or one of 4, 8 or 16 levels that lie evenly around zero.
    """

    turns: int
    bits: Literal[1, 2, 3, 4] = 1

    def say(self, target_P: Vector, space: ParameterSpace, number: int) -> tuple[Vector, int]:
        """The decoded change, float32 [P], and the bytes of its payload; ``number`` is the round's."""
        order_P = np.random.default_rng(number // self.turns).permutation(space.size) % self.turns
        mine_P = order_P == number % self.turns
        size = int(np.ceil(mine_P.sum() * self.bits / 8)) + SCALE_BYTES * space.chunk_count
        sizes_P = np.where(mine_P, np.abs(target_P), np.float32(0))
        counts_C = np.maximum(np.add.reduceat(mine_P, space.chunk_starts[:-1]), 1)

        def mean_of(values_P: NDArray[np.float64]) -> NDArray[np.float64]:
            means_C = np.add.reduceat(values_P, space.chunk_starts[:-1]) / counts_C
            return np.repeat(means_C, np.diff(space.chunk_starts))

        exact_P = sizes_P.astype(np.float64)
        if self.bits == 1:
            said_P = mean_of(exact_P)
        else:
            step_P = STEPS[self.bits] * np.sqrt(mean_of(exact_P**2))
            ratio_P = np.divide(exact_P, step_P, out=np.zeros_like(exact_P), where=step_P > 0)
            said_P = (np.minimum(np.floor(ratio_P), 2 ** (self.bits - 1) - 1) + 0.5) * step_P
        return np.where(mine_P, np.sign(target_P) * said_P, 0).astype(np.float32), size
