"""Codecs that the project does not have: what they would say, and how many bytes that would take.

An update of few AdamW steps is flat: its 64 largest of 4,096 elements hold a twentieth of its
energy, and naming a place costs more than seven bits. Both ideas here spend bits otherwise.
``SignTopK`` leaves out the level bit of top-k. ``SignTurn`` names no places at all: a share of
every chunk, drawn from the number of the round alone, has its turn, and sends its signs; error
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
import torch
from numpy.typing import NDArray

from barnraise.config import CodecConfig
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.space import ParameterSpace
from merge.compress import compress

__all__ = ["Prototype", "SignTopK", "SignTurn", "best_level"]

Vector = NDArray[np.float32]
SCALE_BYTES = 1  # a chunk: as top-k's codes


def best_level(target_P: Vector, space: ParameterSpace, k: int, *, exact: bool) -> Vector:
    """The ``k`` largest of every chunk, float32 [P]: as they are, or as their sign times their mean magnitude."""
    decoded_P = np.zeros_like(target_P)
    for chunk, kept in enumerate(kept_per_chunk(space.chunk_starts, k).tolist()):
        start, end = space.chunk_starts[chunk : chunk + 2]
        values = target_P[start:end]
        largest = np.argsort(-np.abs(values), kind="stable")[:kept]
        level = np.abs(values[largest]).mean()
        decoded_P[start:end][largest] = values[largest] if exact else np.sign(values[largest]) * level
    return decoded_P


@dataclass(frozen=True)
class SignTopK:
    """The ``k`` largest of every chunk as signs of one magnitude."""

    k: int

    def say(self, target_P: Vector, space: ParameterSpace, number: int) -> tuple[Vector, int]:
        """The decoded change, float32 [P], and the bytes of its payload: that of the shipped codec less a bit each."""
        segments, decoded_P = compress(torch.from_numpy(target_P), space, CodecConfig(name="topk", k=self.k))
        size = sum(segment.size_bytes for segment in segments) - int(torch.count_nonzero(decoded_P)) // 8
        return best_level(target_P, space, self.k, exact=False), size


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


Prototype = SignTopK | SignTurn
