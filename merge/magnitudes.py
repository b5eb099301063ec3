"""How large the elements of a tensor are, as counts that add up: for dropping the smallest or largest.

A float32 magnitude is ordered like its bits. Counting them by their upper 16 bits takes one
pass over a tensor that may come in blocks; the counts of blocks are added. With them, the
value below which a given share of the elements lies is known to 8 significant bits, which is
how fine these ranks are: elements that agree so far are kept or dropped together.

B  distinct upper halves that occur
P  elements of a block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Magnitudes"]

_SIGN_OFF = 0x7FFFFFFF


@dataclass(frozen=True)
class Magnitudes:
    """Counts of magnitudes.

    Attributes:
        keys_B: int32 [B], ascending, bits 16 to 30 of the magnitudes.
        counts_B: int64 [B], how many elements have each.
    """

    keys_B: Tensor
    counts_B: Tensor

    @classmethod
    def of(cls, values_P: Tensor) -> Magnitudes:
        """Count a block, float32 [P], finite."""
        keys_P = _keys(values_P)
        counts = torch.bincount(keys_P, minlength=1)
        keys_B = torch.nonzero(counts).view(-1)
        return cls(keys_B.to(torch.int32).cpu(), counts[keys_B].cpu())

    @classmethod
    def total(cls, parts: Sequence[Magnitudes]) -> Magnitudes:
        """The counts of all blocks together."""
        keys = torch.cat([part.keys_B for part in parts])
        keys_B, where = torch.unique(keys, return_inverse=True)
        counts_B = torch.zeros(len(keys_B), dtype=torch.int64)
        counts_B.index_add_(0, where, torch.cat([part.counts_B for part in parts]))
        return cls(keys_B, counts_B)

    @property
    def elements(self) -> int:
        return int(self.counts_B.sum())

    def largest(self, count: int) -> float:
        """The magnitude from which on elements belong to the ``count`` largest, ties included.

        0.0 if that is all of them, infinity if it is none.
        """
        if count <= 0:
            return float("inf")
        if count >= self.elements:
            return 0.0
        from_top_B = self.counts_B.flip(0).cumsum(0)
        place = int(torch.searchsorted(from_top_B, count))
        key = int(self.keys_B[len(self.keys_B) - 1 - place])
        return float(torch.tensor(key << 16, dtype=torch.int32).view(torch.float32))

    def ranks(self, values_P: Tensor) -> Tensor:
        """Share of the tensor's elements that are smaller than each value, ties counted half; float32 [P] in [0, 1]."""
        below_B = self.counts_B.cumsum(0) - self.counts_B
        middle_B = (2 * below_B + self.counts_B).to(torch.float64) / (2 * self.elements)
        table = torch.zeros(1 << 15, dtype=torch.float32)
        table[self.keys_B.to(torch.int64)] = middle_B.to(torch.float32)
        return table.to(values_P.device)[_keys(values_P)]


def _keys(values_P: Tensor) -> Tensor:
    bits_P = values_P.view(torch.int32) & _SIGN_OFF
    return (bits_P >> 16).to(torch.int64)
