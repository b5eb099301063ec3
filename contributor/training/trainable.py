"""Which parameters of a module train, and what that changes in the model.

    trainable = what.prepare(module, space, base_P)      # freezes the rest, may put factors in place of matrices
    optimiser = AdamW(trainable.parameters.values())
    ...
    target_P = trainable.change()                        # trained minus base, what an update is made of

The trainer knows no more than this. Moments, checkpoints and Fishers are flat vectors of
``trainable.space``, so they are as small as what trains; ``change()`` is a flat vector of
``trainable.target``, in which the residual lives too.

Gradients, moments and checkpoints of 4 bytes an element each are what training costs beside the
model itself: 16 bytes for each element that trains, none for one that is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from barnraise.updates.part import Part
from barnraise.updates.space import ParameterSpace

__all__ = ["EVERYTHING", "Everything", "Some", "Trainable", "WhatTrains"]

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Trainable:
    """What of a module trains.

    Attributes:
        parameters: what the optimiser gets, by name; nothing else of the module has gradients.
        space: their layout.
        target: layout of what :meth:`change` returns.
        change: trained minus base as it is now, one new float32 vector of ``target``.
        matrices: names of those parameters that weight decay is for.
        turned: names of those that are the transposes of what ``space`` says.
    """

    parameters: Mapping[str, nn.Parameter]
    space: ParameterSpace
    target: ParameterSpace
    change: Callable[[], Vector]
    matrices: frozenset[str]
    turned: frozenset[str] = frozenset()

    def values(self) -> Vector:
        """What trains as it is now, one new flat vector of ``space``: what a checkpoint holds."""
        return self.flat(self.parameters)

    @torch.no_grad()
    def load(self, values: Vector) -> None:
        """Put a vector that :meth:`values` gave back into the module, wherever it lives."""
        for name, tensor in self.tensors(values).items():
            self.parameters[name].copy_(tensor)

    def flat(self, tensors: Mapping[str, Tensor]) -> Vector:
        """Something of each parameter, such as a moment, as one new flat vector of ``space``."""
        found = {name: tensors[name].detach().float().cpu().numpy() for name in self.parameters}
        return self.space.flatten({name: one.T if name in self.turned else one for name, one in found.items()})

    def tensors(self, flat: Vector) -> dict[str, Tensor]:
        """The way back from :meth:`flat`: new tensors on the CPU, each in the shape of its parameter."""
        views = self.space.unflatten(flat)
        return {name: torch.from_numpy((v.T if name in self.turned else v).copy("C")) for name, v in views.items()}


class WhatTrains(Protocol):
    """Part of what a lease says."""

    def layout(self, space: ParameterSpace) -> ParameterSpace:
        """What :attr:`Trainable.space` will be for a model of ``space``; vectors of it fit no other."""

    def prepare(self, module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
        """Make a module that holds the base ready for an optimiser. Call it once, after loading the base.

        Args:
            space: of the module, every parameter of it.
            base_P: float32, flat, what the module holds.
        """


@dataclass(frozen=True)
class Everything:
    """Every parameter trains."""

    def layout(self, space: ParameterSpace) -> ParameterSpace:
        return space

    def prepare(self, module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
        return _plain(module, space, base_P)


@dataclass(frozen=True)
class Some:
    """The tensors of a part train; the others are frozen."""

    part: Part

    def layout(self, space: ParameterSpace) -> ParameterSpace:
        assert space.digest == self.part.whole.digest, "a part of another model"
        return self.part.space

    def prepare(self, module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
        return _plain(module, self.layout(space), self.part.cut(base_P))


EVERYTHING = Everything()


def _plain(module: nn.Module, space: ParameterSpace, base_P: Vector) -> Trainable:
    wanted = {spec.name for spec in space.tensors}
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in wanted)
    chosen = {name: parameters[name] for name in parameters if name in wanted}

    def change() -> Vector:
        trained = space.flatten({name: p.detach().float().cpu().numpy() for name, p in chosen.items()})
        trained -= base_P
        return trained

    return Trainable(chosen, space, space, change, frozenset(n for n, p in chosen.items() if p.dim() > 1))
