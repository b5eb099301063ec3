"""Numbers drawn by lot that anybody can draw again: a hash of a seed and of an element's place.

No state, no order: an element gets its number from where it is, so a tensor may be cut into
blocks in any way, on any number of workers, and every machine draws the same.

P  elements of a block

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (counter-based
generators); the mixing step is the 32-bit finaliser of MurmurHash3 (Appleby), applied twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from barnraise import native
from barnraise.native import prune as loops

__all__ = ["Draws"]

_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Draws:
    """The numbers of one block of one update.

    Attributes:
        seed: of the merge; an integer, of which 64 bits count.
        update: which of the K updates, counted in the order of their digests.
        start: place of the block's first element in the flat vector (or in its tensor).
    """

    seed: int
    update: int
    start: int

    @property
    def key(self) -> int:
        """A word made of seed and update; another one for each update of a merge."""
        low, high = self.seed & _WORD, (self.seed >> 32) & _WORD
        seed = _mixed_word(low) + _mixed_word((high + 0x85EBCA77) & _WORD)
        return _mixed_word((seed + self.update * 0x9E3779B9) & _WORD)

    def uniform(self, size: int, device: torch.device) -> Tensor:
        """float32 [size] in [0, 1), multiples of 2^-24."""
        if device.type == "cpu" and native.available():
            drawn_P = torch.empty(size)
            loops.draw(self.start, self.key, size, drawn_P.data_ptr())
            return drawn_P
        key = self.key
        places_P = torch.arange(self.start, self.start + size, dtype=torch.int64, device=device)
        low_P, high_P = places_P & _WORD, places_P >> 32
        word_P = _mixed(_mixed(low_P ^ key) ^ ((high_P * 0x85EBCA77 + key) & _WORD))
        return (word_P >> 8).to(torch.float32) * (1.0 / (1 << 24))


def _mixed(word_P: Tensor) -> Tensor:
    """The 32-bit finaliser on int64 words below 2^32; a product below 2^64 wraps, and its low half is right."""
    word_P = ((word_P ^ (word_P >> 16)) * 0x85EBCA6B) & _WORD
    word_P = ((word_P ^ (word_P >> 13)) * 0xC2B2AE35) & _WORD
    return word_P ^ (word_P >> 16)


def _mixed_word(word: int) -> int:
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _WORD
    return word ^ (word >> 16)
