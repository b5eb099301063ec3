"""LoRA: train low-rank factors in place of matrices, in any module.

Every chosen matrix ``W`` of a module becomes ``W + scale * b @ a`` wherever the module uses it, with ``W``
frozen, ``a`` drawn at random and ``b`` zero. That is a parametrisation of the parameter and needs no
word from the module, so an architecture of ours and one of transformers train alike; a parameter that
two modules share is replaced in both.

Gradients, moments and checkpoints are as small as the factors. The gradient of a whole matrix is there
for a moment while a backward pass goes through it.

R, C  rows and columns of a matrix
K  components

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from barnraise.updates.factors import Factors, product_of
from barnraise.updates.space import ParameterSpace
from contributor.training.trainable import Trainable

__all__ = ["LowRank", "uses_of", "wrap_matrices"]

Vector = NDArray[np.float32]


class _Plus(nn.Module):
    """The parametrisation of one matrix; the factors are parameters of it."""

    def __init__(self, a_KC: Tensor, rows: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Parameter(a_KC)
        self.b = nn.Parameter(torch.zeros(rows, len(a_KC), device=a_KC.device))
        self.scale = scale

    def forward(self, weight_RC: Tensor) -> Tensor:
        return weight_RC + self.scale * (self.b @ self.a)


@dataclass(frozen=True)
class LowRank:
    """Factors train.

    Attributes:
        scale: of their product. seed: of what ``a`` is drawn with.
    """

    factors: Factors
    scale: float = 1.0
    seed: int = 0

    def layout(self, space: ParameterSpace) -> ParameterSpace:
        assert space.digest == self.factors.part.whole.digest, "factors of another model"
        return self.factors.space

    def prepare(self, module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
        layout, target = self.layout(space), self.factors.target
        plus = wrap_matrices(module, self.factors, self.scale, self.seed)
        parameters = {f"{name}/a": one.a for name, one in plus.items()}
        parameters |= {f"{name}/b": one.b for name, one in plus.items()}

        def change() -> Vector:
            return target.flatten({name: _product(one) for name, one in plus.items()})

        return Trainable(parameters, layout, target, change, frozenset(parameters))


def wrap_matrices(module: nn.Module, factors: Factors, scale: float, seed: int) -> dict[str, _Plus]:
    """Freeze a module and put factors beside its matrices; the factors by the name that a matrix had.

    Args:
        module: on whatever device, its parameters named as the space of ``factors`` names them.
    """
    uses = uses_of(module)
    parameters = dict(module.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    draws = torch.Generator().manual_seed(seed % (1 << 63))
    found = {}
    for spec in factors.target.tensors:
        parameter = parameters[spec.name]
        a_KC = _drawn(min(factors.rank, *spec.shape), spec.shape[1], draws)
        found[spec.name] = one = _Plus(a_KC.to(parameter.device), spec.shape[0], scale)
        for owner, name in uses[parameter]:
            parametrize.register_parametrization(owner, name, one)
    return found


def uses_of(module: nn.Module) -> dict[nn.Parameter, list[tuple[nn.Module, str]]]:
    """Every module that has a parameter, with its name there: shared ones have several."""
    uses: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            uses.setdefault(parameter, []).append((owner, name))
    return uses


def _drawn(rank: int, columns: int, draws: torch.Generator) -> Tensor:
    """Uniform with the variance of a linear layer's weights at its beginning, ``1 / (3 * columns)``."""
    return torch.empty(rank, columns).uniform_(-1.0, 1.0, generator=draws) / math.sqrt(columns)


@torch.no_grad()
def _product(one: _Plus) -> Vector:
    b_RK = one.b.detach().float().cpu().numpy() * np.float32(one.scale)
    return product_of(b_RK, one.a.detach().float().cpu().numpy())
