"""Noise in a text: bytes that are replaced, moved or swapped, drawn from the text itself.

The same text gets the same noise whatever stands beside it, for any model and at any time. Only
ASCII is touched, so that UTF-8 stays UTF-8, and the length stays what it was.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_json

__all__ = ["Noise", "draws_of", "with_noise"]

Noise = Literal["substitute", "shift", "swap"]

PRINTABLE = np.arange(32, 127, dtype=np.uint8)


def draws_of(*what: str | float) -> np.random.Generator:
    """Random numbers that follow from what they are for: the same ones whenever it is asked."""
    return np.random.Generator(np.random.PCG64(int(digest_json(list(what))[3:35], 16)))


def with_noise(text: bytes, noise: Noise, rate: float) -> bytes:
    """The text with noise, of the same length.

    Args:
        rate: share of its bytes that is hit, one at least; less where it is not ASCII.
    """
    draws = draws_of(noise, rate, text.hex())
    bytes_N = np.frombuffer(text, dtype=np.uint8).copy()
    plain = np.flatnonzero(bytes_N < 128)
    hits = draws.permutation(plain)[: max(1, round(rate * len(text)))]
    if noise == "substitute":
        bytes_N[hits] = _others(bytes_N[hits], draws)
        return bytes_N.tobytes()
    if noise == "swap":
        for place in hits.tolist():
            if place + 1 < len(bytes_N) and bytes_N[place + 1] < 128:
                bytes_N[[place, place + 1]] = bytes_N[[place + 1, place]]
        return bytes_N.tobytes()
    return _shifted(bytes_N, hits, draws)


def _others(bytes_K: NDArray[np.uint8], draws: np.random.Generator) -> NDArray[np.uint8]:
    """A printable byte for each that is another one."""
    found_K = draws.choice(PRINTABLE, len(bytes_K))
    following_K = (found_K - 32 + 1) % len(PRINTABLE) + 32
    return np.where(found_K == bytes_K, following_K, found_K).astype(np.uint8)


def _shifted(bytes_N: NDArray[np.uint8], hits: NDArray[np.intp], draws: np.random.Generator) -> bytes:
    """Every hit byte goes, and for each a random one comes in before a byte that stays, or at the end."""
    kept = [(place, bytes([value])) for place, value in enumerate(bytes_N.tolist()) if place not in set(hits.tolist())]
    doors = [index for index, (_, value) in enumerate(kept) if value[0] < 0x80 or value[0] >= 0xC0]
    text = [value for _, value in kept]
    for value in draws.choice(PRINTABLE, len(hits)).tolist():
        door = int(draws.integers(len(doors) + 1))
        if door == len(doors):
            text.append(bytes([value]))
        else:
            text[doors[door]] = bytes([value]) + text[doors[door]]
    return b"".join(text)
