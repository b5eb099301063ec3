"""LoRA: train low-rank factors in place of matrices.

    a module of transformers   layer of its own -> peft's layers        contributor/training/adapters.py
                               shared, or read past its layer -+
    any other module           every matrix -------------------+-> a parametrisation   parametrised.py

A matrix ``W`` is then ``W + scale * b @ a``, with ``W`` frozen and ``b @ a`` zero at the beginning. Gradients, moments
and checkpoints are as small as the factors. What a unit begins with follows from its seed alone.

R, C  rows and columns of a matrix
K  components

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from barnraise.updates.factors import Factors, product_of
from barnraise.updates.space import ParameterSpace
from contributor.training.adapters import adapt, is_of_transformers, layer_of
from contributor.training.parametrised import Pair, parametrise, uses_of
from contributor.training.trainable import Trainable

__all__ = ["LowRank", "put_factors"]

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class LowRank:
    """Factors train.

    Attributes:
        scale: of their product. seed: of what they are drawn with.
    """

    factors: Factors
    scale: float = 1.0
    seed: int = 0

    def layout(self, space: ParameterSpace) -> ParameterSpace:
        assert space.digest == self.factors.part.whole.digest, "factors of another model"
        return self.factors.space

    def prepare(self, module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
        layout, target = self.layout(space), self.factors.target
        pairs = put_factors(module, self.factors, self.scale, self.seed)
        parameters = {f"{name}/a": pair.a for name, pair in pairs.items()}
        parameters |= {f"{name}/b": pair.b for name, pair in pairs.items()}
        turned = frozenset(f"{name}/{side}" for name, pair in pairs.items() if pair.turned for side in "ab")

        def change() -> Vector:
            return target.flatten({name: _product(pair) for name, pair in pairs.items()})

        return Trainable(parameters, layout, target, change, frozenset(parameters), turned)


def put_factors(module: nn.Module, factors: Factors, scale: float, seed: int) -> dict[str, Pair]:
    """Freeze a module and put factors beside its matrices; these by the name that a matrix had.

    Args:
        module: on whatever device, its parameters named as the space of ``factors`` names them.

    Raises:
        ConfigValueError: peft refuses a layer.
        MissingExtraError: it is needed and not installed.
    """
    uses, parameters = uses_of(module), dict(module.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    matrices = {spec.name: uses[parameters[spec.name]] for spec in factors.target.tensors}
    ranks = {spec.name: min(factors.rank, *spec.shape) for spec in factors.target.tensors}
    layers = _layers(module, matrices) if is_of_transformers(module) else {}
    with torch.random.fork_rng(devices=[]):
        draws = torch.default_generator.manual_seed(seed % (1 << 63))
        pairs = adapt(module, layers, ranks, scale) if layers else {}
        pairs |= parametrise({name: matrices[name] for name in matrices if name not in layers}, ranks, scale, draws)
    return {name: pairs[name] for name in matrices}


def _layers(module: nn.Module, matrices: Mapping[str, list[tuple[nn.Module, str]]]) -> dict[str, str]:
    found = {name: layer_of(module, uses) for name, uses in matrices.items()}
    return {name: layer for name, layer in found.items() if layer is not None}


@torch.no_grad()
def _product(pair: Pair) -> Vector:
    a_KC, b_RK = (one.T if pair.turned else one for one in (pair.a.detach(), pair.b.detach()))
    scaled_RK = b_RK.float().cpu().numpy() * np.float32(pair.scale)
    return product_of(scaled_RK, np.ascontiguousarray(a_KC.float().cpu().numpy()))
