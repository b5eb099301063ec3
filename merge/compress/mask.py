"""Choosing a mask: the elements with the largest scores of the whole model, at most half of every chunk.

P  elements of the whole space
N  entries of the mask

Source: Sung, Nair and Raffel 2021, https://arxiv.org/abs/2111.09839
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import ConfigValueError
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.mask import MASK_CODEC
from barnraise.updates.space import ParameterSpace

__all__ = ["choose_entries"]


def choose_entries(scores_P: NDArray[np.float32], space: ParameterSpace, density: float) -> NDArray[np.int64]:
    """Positions of the mask's entries, int64 [N], strictly increasing; among equals the lowest come first.

    Args:
        scores_P: float32 [P], finite, not negative; elements with the score 0 are never chosen.
        density: N / P that is wanted; fewer entries where fewer have a score.

    Raises:
        ConfigValueError: no element has a score, or none would be chosen.
    """
    wanted = round(density * space.size)
    candidates = np.concatenate([np.zeros(0, np.int64), *_best_halves(scores_P, space)])
    if not len(candidates) or not wanted:
        raise ConfigValueError(f"a mask of {wanted} of {space.size:,} elements would be empty; raise its density")
    best_first = np.argsort(-scores_P[candidates], kind="stable")
    return np.sort(candidates[best_first[:wanted]])


def _best_halves(scores_P: NDArray[np.float32], space: ParameterSpace) -> list[NDArray[np.int64]]:
    """Of each chunk, the positions that a mask may have."""
    starts_C = space.chunk_starts
    kept_C = kept_per_chunk(starts_C, MASK_CODEC.k)
    found = []
    for start, end, kept in zip(starts_C[:-1].tolist(), starts_C[1:].tolist(), kept_C.tolist(), strict=True):
        order = np.argsort(-scores_P[start:end], kind="stable")[:kept]
        found.append(start + np.sort(order[scores_P[start:end][order] > 0]))
    return found
