"""A diagonal Fisher for the elements that an update names: which power of two is nearest.

At most half an octave is lost, which matters little: what counts is how sure one
contributor is beside another, and second moments of gradients span many octaves. With steps of
half an octave, which are finer but reach half as far, more than a third of a real model's
elements lie below the lowest code, and the merge is further from that of the exact Fishers.

N  elements of the segment that the update names
C  chunks of the segment
P  elements of the whole space

Source: Miyashita et al. 2016 for rounding to powers of two, https://arxiv.org/abs/1603.01025; how
    Fishers are used: Matena and Raffel 2021, https://arxiv.org/abs/2111.09832
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonFiniteUpdateError
from barnraise.update_config import CodecConfig
from barnraise.updates import EncodedSegment, ParameterSpace
from barnraise.updates.decode import named_positions
from barnraise.updates.fisher import HIGHEST, LOWEST, NO_FISHER, WEAKEST, FisherCodes, encode

__all__ = ["choose_codes", "with_fisher"]

_SQRT_HALF = 0.5**0.5


def with_fisher(
    segments: Sequence[EncodedSegment], fisher_P: NDArray[np.float32], space: ParameterSpace, codec: CodecConfig
) -> list[EncodedSegment]:
    """The segments of an update, each with the Fisher of the elements that it names.

    Args:
        segments: of the whole space, in order, as :func:`merge.compress.compress` returns them.
        fisher_P: float32 [P], not negative.
        codec: how the segments were encoded.

    Raises:
        NonFiniteUpdateError: ``fisher_P`` holds something negative, a NaN or an infinity.
    """
    assert fisher_P.shape == (space.size,), (fisher_P.shape, space.size)
    wrong = int((~(np.isfinite(fisher_P) & (fisher_P >= 0))).sum())
    if wrong:
        raise NonFiniteUpdateError(
            f"{wrong} of {len(fisher_P)} elements of the Fisher are negative, NaN or infinite. "
            "Lower the learning rate, and train again from the base."
        )
    found = []
    for index, segment in enumerate(segments):
        start, end = space.segment_range(index)
        chunk_starts = space.segment_chunk_starts(index)
        positions_N = named_positions(segment, chunk_starts, codec)
        counts_C = np.diff(np.searchsorted(positions_N, chunk_starts))
        codes = choose_codes(fisher_P[start:end][positions_N], counts_C)
        found.append(replace(segment, fisher=encode(codes)))
    return found


def choose_codes(fisher_N: NDArray[np.float32], counts_C: NDArray[np.int64]) -> FisherCodes:
    """The nearest code of every element.

    Args:
        fisher_N: float32, finite, not negative, of the elements that are named.
        counts_C: int64, how many are named in each chunk; their sum is N.
    """
    nearest_N = _nearest_exponents(fisher_N)
    exponents_C = np.full(len(counts_C), NO_FISHER, dtype=np.int64)
    first_C = np.cumsum(counts_C) - counts_C
    named_C = counts_C > 0
    if named_C.any():
        exponents_C[named_C] = np.maximum.reduceat(nearest_N, first_C[named_C])
    exponents_C[exponents_C < LOWEST] = NO_FISHER
    exponents_N = np.repeat(exponents_C, counts_C)
    octaves_N = np.minimum(exponents_N - nearest_N, WEAKEST)
    octaves_M = octaves_N[exponents_N != NO_FISHER].astype(np.uint8)
    return FisherCodes(exponents_C.astype(np.int8), octaves_M)


def _nearest_exponents(fisher_N: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ``e`` for which ``2 ** e`` is nearest by ratio, at most HIGHEST; of 0 one below all that are used."""
    halves_N, exponents_N = np.frexp(fisher_N.astype(np.float64))
    nearest_N = exponents_N.astype(np.int64) - (halves_N < _SQRT_HALF)
    nearest_N = np.where(fisher_N > 0, nearest_N, NO_FISHER)
    return np.minimum(nearest_N, HIGHEST)
