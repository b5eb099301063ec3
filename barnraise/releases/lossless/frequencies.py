"""How often each symbol comes, in parts of 2,048: chosen from counts, written in bits, read back with suspicion.

Everything here is integers, so that every machine chooses the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import VerificationError
from barnraise.releases.lossless.bits import BitReader
from barnraise.updates.tables import logarithm

__all__ = ["SCALE", "SCALE_LOG", "cost", "gather", "logarithms", "normalise", "read", "write"]

SCALE_LOG = 11
SCALE = 1 << SCALE_LOG
LEAST = 512  # symbols that justify a table
TABLES = 64
_FRACTION = 16
_LENGTH_MOST = 11  # of a gamma code: a frequency is at most 2 ** 11


def normalise(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies that add up to ``SCALE``, none of them 0 where a count is not.

    Rounded to the nearest, and what that leaves over is the most frequent symbol's; too many
    are taken from the most frequent one, the first among equals, one at a time.

    Args:
        counts: int64 [symbols], at least one of them positive.
    """
    total = int(counts.sum())
    frequencies = np.where(counts > 0, np.maximum(1, (counts * SCALE + total // 2) // total), 0)
    spare = SCALE - int(frequencies.sum())
    if spare > 0:
        frequencies[frequencies.argmax()] += spare
    for _ in range(-spare):
        frequencies[frequencies.argmax()] -= 1
    return frequencies


@cache
def logarithms() -> NDArray[np.uint32]:
    """uint32 [2049], binary logarithms of frequencies with 16 fraction bits; the first is not used."""
    return np.array([0, *(logarithm(value) >> (40 - _FRACTION) for value in range(1, SCALE + 1))], dtype=np.uint32)


def cost(counts: NDArray[np.int64], frequencies: NDArray[np.int64]) -> int:
    """Bytes that coding so many symbols with these frequencies takes, rounded up, without the table."""
    bits = (SCALE_LOG << _FRACTION) - logarithms()[frequencies].astype(np.int64)
    return -(-int((counts * bits).sum()) >> (_FRACTION + 3))


def gather(counts_CS: NDArray[np.int64]) -> tuple[list[int], NDArray[np.int64]]:
    """Let neighbouring contexts share a table until it has ``LEAST`` symbols, from the highest context down.

    Args:
        counts_CS: int64 [256, symbols].

    Returns:
        The lowest context of each table but the last, decreasing; counts [tables, symbols].
    """
    lowest: list[int] = []
    gathered: list[NDArray[np.int64]] = []
    open_S = np.zeros(counts_CS.shape[1], dtype=np.int64)
    for context in range(255, -1, -1):
        open_S += counts_CS[context]
        if open_S.sum() >= LEAST and len(gathered) < TABLES:
            gathered.append(open_S.copy())
            lowest.append(context)
            open_S[:] = 0
    if not gathered:
        return [], open_S[None]
    gathered[-1] += open_S
    return lowest[:-1], np.stack(gathered)


def write(tables: Sequence[NDArray[np.int64]]) -> list[tuple[int, int]]:
    """(value, bits) of tables: the last symbol that has a frequency, then gamma codes of all frequencies plus one."""
    parts: list[tuple[int, int]] = []
    for frequencies in tables:
        last = int(np.flatnonzero(frequencies)[-1])
        parts.append((last, 8))
        for frequency in frequencies[: last + 1].tolist():
            length = (frequency + 1).bit_length() - 1
            parts.append((1 << length, length + 1))
            parts.append((frequency + 1 - (1 << length), length))
    return parts


def read(bits: BitReader, count: int, symbols: int) -> NDArray[np.int64]:
    """``count`` tables, int64 [count, symbols].

    Raises:
        VerificationError: a symbol that there is not, or frequencies that do not add up.
    """
    tables = np.zeros((count, symbols), dtype=np.int64)
    for frequencies in tables:
        last = bits.take(8)
        if last >= symbols:
            raise VerificationError(f"a table has symbol {last} of {symbols}; fetch the tensor again")
        for symbol in range(last + 1):
            length = 0
            while bits.take(1) == 0:
                length += 1
                if length > _LENGTH_MOST:
                    raise VerificationError("a table's code is too long; fetch the tensor again")
            frequencies[symbol] = (1 << length) - 1 + bits.take(length)
        if frequencies.sum() != SCALE or not frequencies[last]:
            raise VerificationError("a table's frequencies do not add up; fetch the tensor again")
    return tables
