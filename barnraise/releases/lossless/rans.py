"""Entropy coding with asymmetric numeral systems: many states that share one stream of words.

Symbol ``i`` belongs to lane ``i % lanes``, which has a state of 31 bits. A symbol takes as many of
the 2,048 slots as its frequency says; decoding looks at a state's lowest 11 bits. Encoding is the
exact inverse, in reverse order, and every state begins at ``LOWEST``, so decoding has to end there
with no word left.

    stream = states u32 [lanes] | words u16

N  symbols
T  tables
S  symbols that a table knows

Source: Duda 2013, "Asymmetric numeral systems", https://arxiv.org/abs/1311.2540; Giesen 2014,
    "Interleaved entropy coders", https://arxiv.org/abs/1402.3392
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import VerificationError
from barnraise.releases.lossless.frequencies import SCALE, SCALE_LOG

__all__ = ["LOWEST", "decode", "encode", "lanes_for"]

LOWEST = 1 << 15
_WORD = 16
_ROOM = 31 - SCALE_LOG  # a state below frequency << _ROOM can take the symbol


def lanes_for(count: int) -> int:
    """How many states so many symbols have: few where each costs much, many where they are decoded at once."""
    return 32 if count >= 1 << 15 else 4


def encode(symbols_N: NDArray[np.uint8], tables_N: NDArray[np.uint8], frequencies_TS: NDArray[np.int64]) -> bytes:
    """The stream of symbols, each with the frequencies of its table."""
    lanes = lanes_for(len(symbols_N))
    starts_TS = np.cumsum(frequencies_TS, axis=1) - frequencies_TS
    widths_N, starts_N = frequencies_TS[tables_N, symbols_N], starts_TS[tables_N, symbols_N]
    states = np.full(lanes, LOWEST, dtype=np.int64)
    words = []
    for first in range((len(symbols_N) - 1) // lanes * lanes, -1, -lanes):
        widths, starts = widths_N[first : first + lanes], starts_N[first : first + lanes]
        now = states[: len(widths)]
        full = now >= widths << _ROOM
        words.append(now[full][::-1] & 0xFFFF)
        now[full] >>= _WORD
        whole, rest = np.divmod(now, widths)
        now[:] = (whole << SCALE_LOG) + rest + starts
    stream = np.concatenate(words)[::-1].astype("<u2") if words else np.empty(0, dtype="<u2")
    return states.astype("<u4").tobytes() + stream.tobytes()


def decode(stream: bytes, tables_N: NDArray[np.uint8], frequencies_TS: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The symbols of a stream, uint8 [N].

    Raises:
        VerificationError: not the stream of so many symbols.
    """
    lanes = lanes_for(len(tables_N))
    if len(stream) < 4 * lanes or len(stream) % 2:
        raise VerificationError(f"an entropy-coded stream cannot have {len(stream)} bytes; fetch the tensor again")
    states = np.frombuffer(stream, dtype="<u4", count=lanes).astype(np.int64)
    words = np.frombuffer(stream, dtype="<u2", offset=4 * lanes).astype(np.int64)
    if ((states < LOWEST) | (states >= LOWEST << _WORD)).any():
        raise VerificationError("a state of an entropy-coded stream is out of range; fetch the tensor again")
    starts_TS = np.cumsum(frequencies_TS, axis=1) - frequencies_TS
    owners = [np.repeat(np.arange(len(row), dtype=np.uint8), row) for row in frequencies_TS]
    owners_TW = np.stack(owners) if owners else np.empty((0, SCALE), dtype=np.uint8)
    symbols_N = np.empty(len(tables_N), dtype=np.uint8)
    at = 0
    for first in range(0, len(tables_N), lanes):
        tables = tables_N[first : first + lanes]
        now = states[: len(tables)]
        slots = now & (SCALE - 1)
        symbols = symbols_N[first : first + lanes] = owners_TW[tables, slots]
        now[:] = frequencies_TS[tables, symbols] * (now >> SCALE_LOG) + slots - starts_TS[tables, symbols]
        empty = np.flatnonzero(now < LOWEST)
        if at + len(empty) > len(words):
            raise VerificationError("an entropy-coded stream ends early; fetch the tensor again")
        now[empty] = now[empty] << _WORD | words[at : at + len(empty)]
        at += len(empty)
    if at != len(words) or (states != LOWEST).any():
        raise VerificationError("an entropy-coded stream goes on after its last symbol; fetch the tensor again")
    return symbols_N
