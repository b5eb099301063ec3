"""Between a module and the flat vector of its parameter space.

P  elements in the whole space
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from barnraise.updates.space import ParameterSpace, TensorSpec

__all__ = ["flat_of", "load_flat", "space_of"]


def space_of(module: nn.Module) -> ParameterSpace:
    """The canonical parameter space of a module: its parameters, sorted by name, as float32."""
    return ParameterSpace.of(TensorSpec(name, tuple(p.shape)) for name, p in module.named_parameters())


@torch.no_grad()
def load_flat(module: nn.Module, space: ParameterSpace, flat_P: NDArray[np.float32]) -> None:
    """Copy a flat vector into a module's parameters, wherever they live.

    Args:
        module: its parameters are those of ``space``.
        flat_P: float32 [P]; may be read-only, is not kept.
    """
    parameters = _parameters(module, space)
    for name, view in space.unflatten(flat_P).items():
        parameters[name].copy_(torch.from_numpy(view.copy()))


@torch.no_grad()
def flat_of(module: nn.Module, space: ParameterSpace) -> NDArray[np.float32]:
    """A module's parameters as one new float32 [P] vector."""
    parameters = _parameters(module, space)
    return space.flatten({name: p.detach().cpu().numpy() for name, p in parameters.items()})


def _parameters(module: nn.Module, space: ParameterSpace) -> dict[str, Tensor]:
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    found = {name: tuple(p.shape) for name, p in parameters.items()}
    if found != {t.name: t.shape for t in space.tensors}:
        raise ValueError("the module does not have the tensors of this space")
    return parameters
