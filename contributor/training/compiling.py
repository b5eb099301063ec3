"""Whether ``torch.compile`` pays for a model on a device, found out by a few steps of the first unit.

    plain x 4 --> compiled x 5 --> the median of the last three of each decides, and is remembered

Compiling takes a minute or two and makes most GPUs a good deal faster; on CPUs it seldom pays for small models, and
gives other bits, so there nobody tries unless asked. A step has to become 5% shorter, or it is not worth the trouble
that compiled code can be. What fails to compile is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, cast

import torch
from torch import nn

__all__ = ["Compile", "Compiling", "Trial", "whether_to_compile"]

Compile = Literal["no", "trial", "yes"]

PLAIN_STEPS, COMPILED_STEPS, COUNTED = 4, 5, 3
SHORTER_BY = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds of the steps so far, each way."""

    plain_s: tuple[float, ...] = ()
    compiled_s: tuple[float, ...] = ()

    @property
    def compiled(self) -> bool:
        """Whether the next step is a compiled one."""
        return len(self.plain_s) >= PLAIN_STEPS

    def stepped(self, took_s: float) -> Trial:
        """After a step."""
        if self.compiled:
            return replace(self, compiled_s=(*self.compiled_s, took_s))
        return replace(self, plain_s=(*self.plain_s, took_s))

    @property
    def pays(self) -> bool | None:
        """What came of it; None until all steps are there."""
        if len(self.compiled_s) < COMPILED_STEPS:
            return None
        return self._compiled() < (1 - SHORTER_BY) * self._plain()

    def words(self) -> str:
        """What came of it, for the owner."""
        what = "stays compiled" if self.pays else "is not compiled: that would not pay"
        return f"the model {what}; a step takes {self._plain():.3f} s plain and {self._compiled():.3f} s compiled"

    def _plain(self) -> float:
        return median(self.plain_s[-COUNTED:])

    def _compiled(self) -> float:
        return median(self.compiled_s[-COUNTED:])


def whether_to_compile(device: str, known: bool | None) -> Compile:
    """How a unit begins.

    Args:
        device: its type, as torch names it.
        known: whether compiling pays, as an earlier unit found out.
    """
    if known is not None:
        return "yes" if known else "no"
    return "trial" if device == "cuda" else "no"


class Compiling:
    """The module of one unit, plain or compiled, as asked or as a trial tells.

    Attributes:
        active: whether the next step is a compiled one.
        pays: what a trial found; None where there was none, or it is not over.
    """

    def __init__(self, module: nn.Module, how: Compile, backend: str, say: Callable[[str], None]) -> None:
        self.active = how == "yes"
        self.pays: bool | None = None
        self._trial = Trial() if how == "trial" else None
        self._module, self._backend, self._say = module, backend, say
        self._compiled: nn.Module | None = None

    def module(self) -> nn.Module:
        """What examples go through in the next step."""
        if not self.active:
            return self._module
        if self._compiled is None:
            self._compiled = cast(nn.Module, torch.compile(self._module, backend=self._backend))
        return self._compiled

    def stepped(self, took_s: float) -> None:
        """After a step."""
        if self._trial is None:
            return
        self._trial = trial = self._trial.stepped(took_s)
        self.active = trial.compiled
        if trial.pays is not None:
            self.active = self.pays = trial.pays
            self._trial = None
            self._say(trial.words())

    def failed(self, failure: str) -> None:
        """Go on without, whatever the compiler has met; if that is not the reason, the plain step says it again."""
        self.active, self.pays, self._trial, self._compiled = False, False, None, None
        self._say(f"torch.compile failed, the model trains without: {failure[:160]}")
