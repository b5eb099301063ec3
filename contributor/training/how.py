"""How a unit is computed on this machine: nothing that decides what it computes, but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from contributor.training.accumulate import Gradients, Plain
from contributor.training.compiling import Compile

__all__ = ["How"]


def _nobody(_text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class How:
    """A machine's way of training.

    Attributes:
        micro_batch: examples at once to begin with; None tries the whole batch.
        autocast: type of the forward pass's arithmetic where that may be coarser; None is float32 throughout.
        compute_again: of activations, from the first step on; where memory is short it is done anyway.
        compile: the module with torch.compile: no, yes, or a trial whether it pays.
        backend: of torch.compile.
        gradients: how examples become gradients.
        others: devices that compute gradients, too, each of a share of every batch.
        say: told in words what was changed on the way, such as a smaller micro-batch.
    """

    micro_batch: int | None = None
    autocast: torch.dtype | None = None
    compute_again: bool = False
    compile: Compile = "no"
    backend: str = "inductor"
    gradients: Gradients = field(default_factory=Plain)
    others: tuple[torch.device, ...] = ()
    say: Callable[[str], None] = _nobody
