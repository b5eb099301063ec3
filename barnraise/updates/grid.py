"""Magnitudes on a grid of sixteenths of an octave: number ``n`` stands for ``2 ** (n / 16)``.

A magnitude is put together from bits, exponent and one of sixteen significands, and never
computed. So it is the same on every machine, and no two numbers give the same one. Only
normal float32 are on the grid: from number ``SMALLEST`` to ``LARGEST``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "SMALLEST", "eighth_below", "magnitude_bits", "magnitudes", "nearest_eighth"]

SMALLEST = -126 * 16
LARGEST = 128 * 16 - 1

# The 23 fraction bits of 2 ** (j / 16), rounded to nearest.
_FRACTIONS = np.array(
    [
        0x000000,
        0x05AAC3,
        0x0B95C2,
        0x11C3D3,
        0x1837F0,
        0x1EF532,
        0x25FED7,
        0x2D583F,
        0x3504F3,
        0x3D08A4,
        0x45672A,
        0x4E248C,
        0x5744FD,
        0x60CCDF,
        0x6AC0C7,
        0x75257D,
    ],
    dtype=np.uint32,
)
_STEPS = (np.uint32(127 << 23) | _FRACTIONS).view(np.float32).astype(np.float64)


def magnitude_bits(numbers_N: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The bits of float32 magnitudes, uint32 [N]; numbers lie in [SMALLEST, LARGEST]."""
    exponents = (numbers_N >> 4) + 127
    bits_N: NDArray[np.uint32] = (exponents.astype(np.uint32) << np.uint32(23)) | _FRACTIONS[numbers_N & 15]
    return bits_N


def magnitudes(numbers_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 [N], positive and normal."""
    return magnitude_bits(numbers_N).view(np.float32)


def eighth_below(values_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """The largest ``e`` with ``2 ** (e / 8) <= value``, for positive float64."""
    halves, exponents = np.frexp(values_N)
    return 8 * (exponents.astype(np.int64) - 1) + np.searchsorted(_STEPS[0::2], 2 * halves, side="right") - 1


def nearest_eighth(values_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """The ``e`` for which ``2 ** (e / 8)`` is nearest by ratio, for positive float64."""
    halves, exponents = np.frexp(values_N)
    return 8 * (exponents.astype(np.int64) - 1) + np.searchsorted(_STEPS[1::2], 2 * halves, side="right")
