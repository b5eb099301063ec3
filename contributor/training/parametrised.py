"""Low-rank factors beside matrices, wherever a module uses them: a parametrisation of the parameter.

Every chosen matrix ``W`` of a module becomes ``W + scale * b @ a`` for whoever reads it, with ``W`` frozen,
``a`` drawn at random and ``b`` zero. That needs no word from the module: a parameter that two modules share is
replaced in both, and one that is read without its layer is replaced there, too. Its price is the gradient of a whole
matrix, and a copy of it, for a moment while a pass goes through it.

R, C  rows and columns of a matrix
K  components

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["Pair", "Use", "parametrise", "uses_of"]

Use = tuple[nn.Module, str]
"""A module that has a parameter, and its name there."""


@dataclass(frozen=True)
class Pair:
    """The factors of one matrix, in training.

    Attributes:
        a, b: [K, C] and [R, K]; the transposes of these where ``turned``, as layers have it that hold a matrix so.
        scale: of their product.
    """

    a: nn.Parameter
    b: nn.Parameter
    scale: float
    turned: bool = False


class _Plus(nn.Module):
    """The parametrisation of one matrix; the factors are parameters of it."""

    def __init__(self, a_KC: Tensor, rows: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Parameter(a_KC)
        self.b = nn.Parameter(torch.zeros(rows, len(a_KC), device=a_KC.device))
        self.scale = scale

    def forward(self, weight_RC: Tensor) -> Tensor:
        return weight_RC + self.scale * (self.b @ self.a)


def parametrise(
    matrices: Mapping[str, Sequence[Use]], ranks: Mapping[str, int], scale: float, draws: torch.Generator
) -> dict[str, Pair]:
    """Put factors beside matrices, which must be frozen.

    Args:
        matrices: by name, every use of each.
        ranks: of each of them.
        draws: of the CPU, what ``a`` is drawn with, in the order of ``matrices``.
    """
    found = {}
    for name, uses in matrices.items():
        weight = getattr(*uses[0])
        a_KC = _drawn(ranks[name], weight.shape[1], draws).to(weight.device)
        plus = _Plus(a_KC, weight.shape[0], scale)
        for owner, attribute in uses:
            parametrize.register_parametrization(owner, attribute, plus)
        found[name] = Pair(plus.a, plus.b, scale)
    return found


def uses_of(module: nn.Module) -> dict[nn.Parameter, list[Use]]:
    """Every module that has a parameter, with its name there: shared ones have several."""
    uses: dict[nn.Parameter, list[Use]] = {}
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            uses.setdefault(parameter, []).append((owner, name))
    return uses


def _drawn(rank: int, columns: int, draws: torch.Generator) -> Tensor:
    """Uniform with the variance of a linear layer's weights at its beginning, ``1 / (3 * columns)``."""
    return torch.empty(rank, columns).uniform_(-1.0, 1.0, generator=draws) / math.sqrt(columns)
