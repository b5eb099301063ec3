"""Range coding with asymmetric numeral systems: four states that share one stream of words.

A symbol takes the slots ``[start, start + width)`` of ``2 ** log``, and may be followed by bits
that are written as they are. Decoding looks at a state's lowest bits, whoever knows the model
says which symbol has that slot, and :meth:`Reader.take` moves on. Encoding is the exact inverse,
in reverse order, and every state begins at ``LOWEST``. So a stream whose states end at ``LOWEST``
with no word left is the one that encoding its symbols gives: nothing else needs to be checked
for an encoding to be unique.

    support = four states u64 | words u32

Source: Duda 2013, "Asymmetric numeral systems", https://arxiv.org/abs/1311.2540; Giesen 2014,
    "Interleaved entropy coders", https://arxiv.org/abs/1402.3392
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from barnraise.errors import NonCanonicalUpdateError, TruncatedUpdateError

__all__ = ["LANES", "Reader", "Symbol", "write"]

LANES = 4
LOWEST = 1 << 31
_STATES = struct.Struct(f"<{LANES}Q")

Symbol = tuple[int, int, int, int, int, int]
"""Lane, ``log``, start and width in slots, how many bits follow, and these; ``log`` and bits together are 31 at most:
more would need two words."""


def write(symbols: Iterable[Symbol]) -> bytes:
    """Encode symbols, which come in the *reverse* of the order of decoding."""
    states = [LOWEST] * LANES
    words = []
    for lane, log, start, width, bits, rest in symbols:
        state = states[lane]
        if state >> (63 - log - bits) >= width:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        whole, within = divmod(state << bits | rest, width)
        states[lane] = (whole << log) + within + start
    return _STATES.pack(*states) + struct.pack(f"<{len(words)}I", *reversed(words))


class Reader:
    """The states of a stream that is being decoded."""

    def __init__(self, stream: bytes) -> None:
        """Read the states.

        Raises:
            TruncatedUpdateError, NonCanonicalUpdateError: not states and words.
        """
        if len(stream) < _STATES.size:
            raise TruncatedUpdateError(f"a support of {len(stream)} bytes, expected at least {_STATES.size}")
        if len(stream) % 4:
            raise NonCanonicalUpdateError(f"a support of {len(stream)} bytes is not made of words of 4")
        self._states: list[int] = list(_STATES.unpack_from(stream))
        if any(not LOWEST <= state < 1 << 63 for state in self._states):
            raise NonCanonicalUpdateError("a state of the support is out of range. Encode the update again.")
        self._words = struct.unpack_from(f"<{(len(stream) - _STATES.size) // 4}I", stream, _STATES.size)
        self._next = 0

    def slot(self, lane: int, log: int) -> int:
        """The slot that the next symbol of a lane must have, of ``2 ** log``."""
        return self._states[lane] & ((1 << log) - 1)

    def take(self, lane: int, log: int, start: int, width: int, bits: int = 0) -> int:
        """Move on by the symbol that has this slot, and by the bits that follow it; returns these.

        Raises:
            TruncatedUpdateError: there is no word left.
        """
        state = self._states[lane]
        state = width * (state >> log) + (state & ((1 << log) - 1)) - start
        rest = state & ((1 << bits) - 1)
        state >>= bits
        if state < LOWEST:
            if self._next == len(self._words):
                raise TruncatedUpdateError("the support ends in the middle of a segment. Send the update again.")
            state = state << 32 | self._words[self._next]
            self._next += 1
        self._states[lane] = state
        return rest

    def check_end(self) -> None:
        """Refuse what is not the whole encoding of what was taken.

        Raises:
            NonCanonicalUpdateError: a state or a word is left.
        """
        if any(state != LOWEST for state in self._states) or self._next != len(self._words):
            raise NonCanonicalUpdateError("the support goes on after its last entry. Encode the update again.")
