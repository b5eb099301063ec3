"""The models that a run can train, by the name that ``[model] architecture`` gives them.

To add one that ships: a section in ``barnraise/model_config.py``, a file here with a frozen
dataclass that has the shape of :class:`Architecture`, and its line in the table below. Another
distribution offers one as an entry point of the group ``barnraise.architectures``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, overload

from torch import nn

from barnraise.model_config import ByteLMConfig, ModelConfig
from barnraise.updates.space import ParameterSpace
from merge.architectures.architecture import Answering, Architecture
from merge.architectures.byte_lm import ByteLM
from merge.architectures.flat import flat_of, load_flat, space_of
from merge.architectures.sample import generate
from merge.strategies.registry import Shelf

__all__ = [
    "Answering",
    "Architecture",
    "ByteLM",
    "architecture_of",
    "build",
    "ecosystem_files",
    "flat_of",
    "generate",
    "load_flat",
    "module_space",
    "parameter_count",
    "space_of",
]

_ARCHITECTURES = {
    "byte-lm": "merge.architectures.byte_lm:ByteLMArchitecture",
    "causal-lm": "merge.architectures.causal_lm:CausalLMArchitecture",
    "image-classifier": "merge.architectures.image_classifier:ImageClassifierArchitecture",
}
_SHELF: Shelf[Architecture] = Shelf(
    "architecture", "barnraise.architectures", _ARCHITECTURES, ("build", "parameter_count", "files")
)


def architecture_of(model: ModelConfig) -> Architecture:
    """What builds a model.

    Raises:
        UnknownStrategyError: no architecture of that name is built in or installed.
    """
    found = _SHELF.find(model.architecture)
    return cast(Callable[..., Architecture], found)(model)


@overload
def build(model: ByteLMConfig) -> ByteLM: ...
@overload
def build(model: ModelConfig) -> nn.Module: ...
def build(model: Any) -> nn.Module:
    """A new module on the CPU, float32, with the weights that ``model.init_seed`` names."""
    return architecture_of(model).build()


def parameter_count(model: ModelConfig) -> int:
    """Elements that a module of ``model`` has, found without building one."""
    return architecture_of(model).parameter_count()


def module_space(model: ModelConfig) -> ParameterSpace:
    """The canonical parameter space of a model's module."""
    return space_of(architecture_of(model).build())


def ecosystem_files(model: ModelConfig) -> dict[str, bytes]:
    """Files beside the tensors from which other software knows what the model is: name -> content, sorted by name."""
    return architecture_of(model).files()
