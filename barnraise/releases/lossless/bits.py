"""Numbers of a few bits one after the other, the lowest bit first, the last byte filled with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import VerificationError

__all__ = ["BitReader", "pack", "pack_all", "unpack_all"]


def pack(parts: Sequence[tuple[int, int]]) -> bytes:
    """(value, bits) pairs."""
    whole = at = 0
    for value, bits in parts:
        whole |= value << at
        at += bits
    return whole.to_bytes(-(-at // 8), "little")


class BitReader:
    """Takes numbers from the front of ``data``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, bits: int) -> int:
        """The next number.

        Raises:
            VerificationError: the data ends before.
        """
        if self._at + bits > 8 * len(self._data):
            raise VerificationError("a compressed tensor ends within a table; fetch it again")
        first = self._at // 8
        window = int.from_bytes(self._data[first : first + 4], "little")
        value = (window >> self._at % 8) & ((1 << bits) - 1)
        self._at += bits
        return value

    def end(self) -> int:
        """Bytes that were begun.

        Raises:
            VerificationError: what is left of the last one is not zero.
        """
        if self._at % 8 and self._data[self._at // 8] >> self._at % 8:
            raise VerificationError("bits that belong to nothing are set in a compressed tensor; fetch it again")
        return -(-self._at // 8)


def pack_all(values_N: NDArray[np.uint64], bits_N: NDArray[np.int64]) -> bytes:
    """The lowest ``bits`` of every value."""
    starts_N = np.cumsum(bits_N) - bits_N
    spread_out = np.zeros(int(bits_N.sum()), dtype=np.uint8)
    for bit in range(int(bits_N.max(initial=0))):
        has_N = bits_N > bit
        spread_out[starts_N[has_N] + bit] = (values_N[has_N] >> np.uint64(bit)) & np.uint64(1)
    return np.packbits(spread_out, bitorder="little").tobytes()


def unpack_all(data: bytes, bits_N: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Values of so many bits each, uint64 [N].

    Raises:
        VerificationError: not as many bytes as they need, or something after the last bit.
    """
    total = int(bits_N.sum())
    if len(data) != -(-total // 8):
        raise VerificationError(f"{len(data)} bytes of low bits where {-(-total // 8)} are needed; fetch it again")
    spread_out = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if spread_out[total:].any():
        raise VerificationError("bits that belong to nothing are set in a compressed tensor; fetch it again")
    starts_N = np.cumsum(bits_N) - bits_N
    values_N = np.zeros(len(bits_N), dtype=np.uint64)
    for bit in range(int(bits_N.max(initial=0))):
        has_N = bits_N > bit
        values_N[has_N] |= spread_out[starts_N[has_N] + bit].astype(np.uint64) << np.uint64(bit)
    return values_N
