"""What updates agree on: their weighted sum, or the mean of those on the heavier side.

    sum   scale * sum_k w_k x_k / divisor
    ties  at every element the side (up or down) with the greater mass |sum w_k x_k|, or with more
          updates, is elected; scale * sum w_k x_k / divisor over the updates on that side only

The divisor is the sum of the weights that take part ("weights": all of them, or those on the
elected side), or 1 ("none": weights are used as they are given, and may be negative). Votes
that are equal in number go to the greater mass, and where masses are equal too nothing is
elected and the element does not change; so the rule does not prefer a direction. An update
of weight 0 takes no part.

What rises and what falls is added apart, in the order of the rows and in float32, so one pass
does: the side with the greater total is elected. The compiled loop prunes in the same pass
and gives the same bits.

K  updates
P  elements of a block

Source: Yadav et al. 2023 (TIES, sections 3.2 and 3.3), https://arxiv.org/abs/2306.01708
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from barnraise import native
from barnraise.native import prune as loops
from merge.elementwise import weighted_sum
from merge.prune import Pruning
from merge.strategies.rule import Rows, shares

__all__ = ["Consensus"]

BLOCK = 1 << 15  # 128 KiB of each update: a block of 16 of them stays in the second-level cache


@dataclass(frozen=True, slots=True)
class Consensus:
    """How pruned updates become one change.

    Attributes:
        kind: "sum" or "ties".
        elect: "mass" or "count", for ties.
        divisor: "weights" or "none".
        scale: of the result.
    """

    kind: str = "sum"
    elect: str = "mass"
    divisor: str = "weights"
    scale: float = 1.0

    def combine(
        self,
        deltas_KP: Rows,
        weights_K: Tensor,
        prunings: Sequence[Pruning] | None = None,
        clipping_K: Tensor | None = None,
    ) -> Tensor:
        """Prune and combine one block.

        Args:
            deltas_KP: K tensors float32 [P].
            weights_K: float [K].
            prunings: of each update; None for none.
            clipping_K: float64 [K], what each update is multiplied by when it has been pruned.

        Returns:
            float32 [P].

        Raises:
            MergeError: the weights cannot be normalised, and the divisor says that they should be.
        """
        shares_K = (shares(weights_K) if self.divisor == "weights" else weights_K).to(torch.float64)
        factors_K = shares_K if clipping_K is None else torch.mul(shares_K, clipping_K)
        if self.kind == "sum":
            factors_K = torch.mul(factors_K, self.scale)
        terms = _Terms(factors_K.to(torch.float32), shares_K.to(torch.float32))
        if native.available() and all(_in_reach(row_P) for row_P in deltas_KP):
            return self._in_one_pass(deltas_KP, terms, prunings)
        merged_P = torch.empty_like(deltas_KP[0])
        for start in range(0, len(merged_P), BLOCK):
            blocks = [row_P[start : start + BLOCK] for row_P in deltas_KP]
            if prunings is not None:
                blocks = [p.moved(start).apply(block_B) for p, block_B in zip(prunings, blocks, strict=True)]
            merged_P[start : start + BLOCK] = self._plain(blocks, terms)
        return merged_P

    def _in_one_pass(self, rows: Rows, terms: _Terms, prunings: Sequence[Pruning] | None) -> Tensor:
        arguments = []
        for k, (row_P, factor, weight) in enumerate(zip(rows, *terms.lists(), strict=True)):
            row = loops.Row(values=row_P.data_ptr(), kind=loops.KINDS["keep-all"], factor=factor, weight=weight)
            if prunings is not None:
                prunings[k].fill(row)
            arguments.append(row)
        kind = loops.CONSENSUS["sum" if self.kind == "sum" else self.elect]
        rule = loops.Consensus(kind=kind, divide=self.divisor == "weights", scale=self.scale)
        merged_P = torch.empty_like(rows[0])
        loops.merge_pruned(arguments, rule, merged_P.numel(), merged_P.data_ptr())
        return merged_P

    def _plain(self, rows: Rows, terms: _Terms) -> Tensor:
        if self.kind == "sum":
            return weighted_sum(rows, terms.factors_K)
        up_P, down_P, up_weights_P, down_weights_P, votes_P = (torch.zeros_like(rows[0]) for _ in range(5))
        for row_P, factor, weight in zip(rows, *terms.lists(), strict=True):
            if factor == 0:
                continue
            value_P = torch.mul(row_P, factor)
            rises_P, falls_P = value_P > 0, value_P < 0
            up_P += torch.where(rises_P, value_P, 0.0)
            down_P += torch.where(falls_P, -value_P, 0.0)
            up_weights_P += rises_P * weight
            down_weights_P += falls_P * weight
            if self.elect == "count":
                votes_P += rises_P.to(torch.float32) - falls_P.to(torch.float32)
        even_P = votes_P == 0
        rises_P = (votes_P > 0) | (even_P & (up_P > down_P))
        falls_P = (votes_P < 0) | (even_P & (up_P < down_P))
        mean_P = torch.where(rises_P, up_P, -down_P)
        if self.divisor == "weights":
            mean_P = torch.div(mean_P, torch.where(rises_P, up_weights_P, down_weights_P))
        return torch.where(rises_P | falls_P, torch.mul(mean_P, self.scale), 0.0)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What updates are multiplied by, and what they add to the divisor; float32 [K]."""

    factors_K: Tensor
    weights_K: Tensor

    def lists(self) -> tuple[list[float], list[float]]:
        return self.factors_K.tolist(), self.weights_K.tolist()


def _in_reach(row_P: Tensor) -> bool:
    return row_P.device.type == "cpu" and row_P.dtype == torch.float32 and row_P.is_contiguous()
