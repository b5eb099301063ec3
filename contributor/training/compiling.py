"""Whether ``torch.compile`` pays for a model on a device, found out by a few steps of the first unit.

    plain x 4 --> compiled x 5 --> the median of the last three of each decides, and is remembered

Compiling takes a minute or two and makes most GPUs a good deal faster; on CPUs it seldom pays for small models, and
gives other bits, so there nobody tries unless asked. A step has to become 5% shorter, or it is not worth the trouble
that compiled code can be. What fails to compile is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

__all__ = ["Compile", "Trial", "whether_to_compile"]

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
