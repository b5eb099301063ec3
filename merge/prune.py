"""What is dropped of an update before updates are combined: by size, by lot, or by both.

Each way is a few numbers, so that it can be carried out on any block of a tensor, in plain
torch (:meth:`apply`) or in the compiled loop, with the same bits.

P  elements of a block
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from barnraise.native import prune as loops
from merge.draws import Draws

__all__ = ["SLACK", "ByLot", "ByLotAndSize", "BySize", "Pruning", "kept"]

SLACK = 1e-9  # 0.29 * 100 is 28.999999999999996 in binary, and means 29


@dataclass(frozen=True, slots=True)
class BySize:
    """Keep magnitudes in [low, high) as they are, drop the others.

    Attributes:
        low, high: float32 numbers.
    """

    low: float = 0.0
    high: float = float("inf")

    def apply(self, delta_P: Tensor) -> Tensor:
        size_P = delta_P.abs()
        return torch.where((size_P >= self.low) & (size_P < self.high), delta_P, 0.0)

    def fill(self, row: loops.Row) -> None:
        row.kind, row.low, row.high = loops.KINDS["by-size"], self.low, self.high

    def moved(self, by: int) -> BySize:
        """For a block that begins ``by`` elements further on."""
        return self


@dataclass(frozen=True, slots=True)
class ByLot:
    """Keep every element with probability ``keep`` and divide it by that, drop the others.

    Attributes:
        keep: in (0, 1]; rounded to float32 before it is used.
    """

    keep: float
    draws: Draws

    def apply(self, delta_P: Tensor) -> Tensor:
        keep = torch.full((1,), self.keep, device=delta_P.device)
        drawn_P = self.draws.uniform(delta_P.numel(), delta_P.device)
        return torch.where(drawn_P < keep, torch.div(delta_P, keep), 0.0)

    def fill(self, row: loops.Row) -> None:
        row.kind, row.keep = loops.KINDS["by-lot"], self.keep
        row.key, row.place = self.draws.key, self.draws.start

    def moved(self, by: int) -> ByLot:
        return replace(self, draws=replace(self.draws, start=self.draws.start + by))


@dataclass(frozen=True, slots=True)
class ByLotAndSize:
    """Keep an element with a probability that depends on its size, and divide it by that.

    Attributes:
        keeps: float32 [KEYS], probabilities by the upper 16 bits of a magnitude.
    """

    keeps: Tensor
    draws: Draws

    def apply(self, delta_P: Tensor) -> Tensor:
        uppers_P = ((delta_P.view(torch.int32) & 0x7FFFFFFF) >> 16).to(torch.int64)
        keep_P = self.keeps.to(delta_P.device)[uppers_P]
        drawn_P = self.draws.uniform(delta_P.numel(), delta_P.device)
        return torch.where(drawn_P < keep_P, torch.div(delta_P, keep_P), 0.0)

    def fill(self, row: loops.Row) -> None:
        row.kind, row.keeps = loops.KINDS["by-lot-and-size"], self.keeps.data_ptr()
        row.key, row.place = self.draws.key, self.draws.start

    def moved(self, by: int) -> ByLotAndSize:
        return replace(self, draws=replace(self.draws, start=self.draws.start + by))


Pruning = BySize | ByLot | ByLotAndSize


def kept(density: float, elements: int) -> int:
    """How many of a tensor's elements a share means: rounded down, at least one."""
    return max(1, int(density * elements + SLACK))
