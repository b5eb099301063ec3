"""Train the entries of a mask: a few elements of a model, wherever they lie.

A tensor with entries becomes itself plus a vector of their changes, put where they belong, whenever the
module uses it; the vector trains, from zero, and the tensor is frozen. So gradients, moments and
checkpoints have one value an entry. The gradient of a whole tensor, and a copy of it with its changes,
are there for a moment while a pass goes through it.

Weight decay would pull the changes to zero, not the weights: it is not for entries.

N  entries of a tensor

Source: Sung, Nair and Raffel 2021, https://arxiv.org/abs/2111.09839
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from barnraise.updates.mask import Mask
from barnraise.updates.space import ParameterSpace
from contributor.training.parametrised import uses_of
from contributor.training.trainable import Trainable

__all__ = ["Entries"]

Vector = NDArray[np.float32]


class _At(nn.Module):
    """The parametrisation of one tensor: its changes, and where they go."""

    def __init__(self, at_N: Tensor) -> None:
        super().__init__()
        self.changes = nn.Parameter(torch.zeros(len(at_N), device=at_N.device))
        self.register_buffer("at_N", at_N, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        assert isinstance(self.at_N, Tensor)
        return weight.reshape(-1).index_add(0, self.at_N, self.changes.to(weight.dtype)).view_as(weight)


@dataclass(frozen=True)
class Entries:
    """The entries of a mask train."""

    mask: Mask

    def layout(self, space: ParameterSpace) -> ParameterSpace:
        assert space.digest == self.mask.whole.digest, "a mask of another model"
        return self.mask.space

    def prepare(self, module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
        layout, uses, parameters = self.layout(space), uses_of(module), dict(module.named_parameters())
        for parameter in parameters.values():
            parameter.requires_grad_(False)
        changes: dict[str, nn.Parameter] = {}
        chosen = [spec.name for spec, bit in zip(space.tensors, self.mask.chosen, strict=True) if bit]
        for own, name, at_N in zip(layout.tensors, chosen, self._places(), strict=True):
            parameter = parameters[name]
            one = _At(torch.from_numpy(at_N).to(parameter.device))
            changes[own.name] = one.changes
            for owner, attribute in uses[parameter]:
                parametrize.register_parametrization(owner, attribute, one)

        def change() -> Vector:
            return layout.flatten({name: p.detach().float().cpu().numpy() for name, p in changes.items()})

        return Trainable(changes, layout, layout, change, frozenset())

    def _places(self) -> list[NDArray[np.int64]]:
        """Of each tensor that has entries, where they lie in it."""
        whole = self.mask.whole
        ranges = [whole.segment_range(segment)[0] for segment in range(whole.segment_count)]
        at = np.concatenate([first + self.mask.positions(segment) for segment, first in enumerate(ranges)])
        bounds = np.searchsorted(at, whole.tensor_starts)
        cuts = zip(bounds[:-1], bounds[1:], whole.tensor_starts[:-1], strict=True)
        return [at[start:end] - begin for start, end, begin in cuts if start < end]
