"""What an architecture is: from the ``[model]`` of a run to a module, its size, and the files that others read."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import nn

__all__ = ["Architecture"]


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
