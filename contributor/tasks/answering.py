"""Answering: of each example, which of some answers is right. Telling pictures apart is one such task.

B  examples in a batch
W  bytes of an example
C  answers
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from barnraise.errors import ConfigValueError
from barnraise.model_config import ModelConfig
from contributor.tasks.task import Batch, Loss
from merge.architectures import Answering, architecture_of

__all__ = ["AnsweringTask"]

NAMES = {"image-classifier": "image-classification"}


class AnsweringTask:
    """Examples of one length, drawn by seed and step, and the cross-entropy of their answers."""

    unit = "bits per answer"

    def __init__(self, model: ModelConfig, examples: bytes) -> None:
        """Training on ``examples``, which lie one after the other.

        Raises:
            ConfigValueError: the architecture does not answer, there is no example, or the last one is cut off.
        """
        architecture, width = architecture_of(model), model.example_bytes
        if not isinstance(architecture, Answering):
            raise ConfigValueError(
                f"the run trains {model.architecture}, for which this Barnraise has no task; install a newer one, or "
                "the distribution that offers it"
            )
        if not examples or len(examples) % width:
            raise ConfigValueError(
                f"the shard has {len(examples):,} bytes, which are no examples of {width} as {model.architecture} "
                "reads them; [data] and [model] of the run do not fit"
            )
        self.name = NAMES.get(model.architecture, model.architecture)
        self._architecture = architecture
        self._build = architecture.build
        self._examples_NW = np.frombuffer(examples, dtype=np.uint8).reshape(-1, width)

    def module(self) -> nn.Module:
        return self._build()

    def batch(self, seed: int, step: int, size: int) -> Batch:
        picked_B = np.random.default_rng([seed, step]).integers(0, len(self._examples_NW), size=size)
        return {"examples": torch.from_numpy(self._examples_NW[picked_B])}

    @property
    def examples(self) -> int:
        """How many there are, for whoever must be able to leave one out."""
        return len(self._examples_NW)

    def pick(self, numbers: NDArray[np.int64]) -> Batch:
        """Those of them."""
        return {"examples": torch.from_numpy(self._examples_NW[numbers])}

    def loss(self, module: Any, batch: Batch) -> Loss:
        inputs, wanted_B = self._architecture.split(batch["examples"])
        logits_BC = module(inputs)
        return Loss(functional.cross_entropy(logits_BC.float(), wanted_B, reduction="sum"), len(wanted_B))

    def tokens(self, examples: int) -> int:
        return examples
