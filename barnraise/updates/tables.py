"""Logarithms and powers of two as integers, computed with integers only: every machine has the same ones.

Exponents and logarithms have ``FRACTION`` fraction bits; shares of ``ONE`` have 24 bits.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRACTION", "ONE", "log_factorials", "logarithm", "powers"]

FRACTION = 19
ONE = 1 << 24
_LARGEST = 4096
_FINE = 40  # fraction bits of what is added up


def logarithm(value: int) -> int:
    """``log2(value)`` for a positive integer, rounded down, with ``_FINE`` fraction bits.

    Squaring doubles a logarithm, so each squaring of the significand tells its next bit.
    """
    whole = value.bit_length() - 1
    significand = (value << 62) >> whole
    result = whole
    for _ in range(_FINE):
        significand = significand * significand >> 62
        carry = significand >> 63
        significand >>= carry
        result = 2 * result + carry
    return result


@cache
def log_factorials() -> NDArray[np.uint32]:
    """uint32 [4097], ``log2(i!)`` modulo ``2 ** 32``: differences below that are exact."""
    sums = np.cumsum([0, *(logarithm(i) for i in range(1, _LARGEST + 1))], dtype=np.int64)
    rounded = (sums + (1 << (_FINE - FRACTION - 1))) >> (_FINE - FRACTION)
    return (rounded & 0xFFFFFFFF).astype(np.uint32)


@cache
def powers() -> NDArray[np.uint32]:
    """uint32 [1025], ``ONE * 2 ** (-i / 1024)`` rounded down."""
    root = 1 << 199  # 2 ** (-1 / 1024) with 200 fraction bits, by ten square roots of one half
    for _ in range(10):
        root = math.isqrt(root << 200)
    values, power = [], 1 << 200
    for _ in range(1025):
        values.append((power + (1 << 100)) >> 176)  # the rest of 2 ** 100 covers what rounding lost
        power = power * root >> 200
    return np.array(values, dtype=np.uint32)
