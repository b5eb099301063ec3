"""The models that a run can train, by the name that ``[model] architecture`` gives them.

To add one: a file here with a module class that takes a :class:`ModelConfig`, a line in
``ARCHITECTURES``, its name in ``ModelConfig.architecture``, and what other software has to
know of it in ``ecosystem_files``.
"""

from __future__ import annotations

from barnraise.config import ModelConfig
from merge.architectures.byte_lm import ByteLM, parameter_count
from merge.architectures.ecosystem import ecosystem_files
from merge.architectures.flat import flat_of, load_flat, space_of
from merge.architectures.sample import generate

__all__ = [
    "ARCHITECTURES",
    "ByteLM",
    "build",
    "ecosystem_files",
    "flat_of",
    "generate",
    "load_flat",
    "parameter_count",
    "space_of",
]

ARCHITECTURES: dict[str, type[ByteLM]] = {"byte-lm": ByteLM}


def build(model: ModelConfig) -> ByteLM:
    """A new module on the CPU, float32, with the weights that ``model.init_seed`` names."""
    return ARCHITECTURES[model.architecture](model)
