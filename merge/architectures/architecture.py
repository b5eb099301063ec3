"""What an architecture is: from the ``[model]`` of a run to a module, its size, and the files that others read.

B  examples in a batch
W  bytes of an example
C  answers that there are
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["Answering", "Architecture"]


class Architecture(Protocol):
    """A frozen dataclass with one field, ``model``: the section of the run's configuration."""

    name: ClassVar[str]

    def build(self) -> nn.Module:
        """A new module on the CPU, float32, with the weights that ``init_seed`` names on every machine."""
        ...

    def parameter_count(self) -> int:
        """Elements that the module has, found without allocating them: what a stranger states is measured first."""
        ...

    def files(self) -> dict[str, bytes]:
        """File name -> content of what other software has to know beside the tensors, sorted by name."""
        ...


@runtime_checkable
class Answering(Protocol):
    """An architecture that answers: of each example it tells which of C answers is right.

    Training such a model and testing it need nothing else of it: its module takes inputs and gives
    logits [B, C], and a loss is the cross-entropy of the wanted answers.
    """

    def split(self, examples_BW: Tensor) -> tuple[Tensor, Tensor]:
        """What the module is given, and the wanted answers.

        Args:
            examples_BW: uint8 [B, W], as the corpus has them, on any device.

        Returns:
            inputs, uint8 [B, ..], and answers, int64 [B], from 0 to C - 1.
        """
        ...
