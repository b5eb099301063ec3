"""Next-byte prediction: windows of a text, every byte from those before it.

B  windows in a batch
T  the model's context
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from barnraise.errors import ConfigValueError
from barnraise.model_config import ByteLMConfig
from contributor.tasks.task import Batch, Loss
from merge.architectures import build

__all__ = ["ByteLMTask"]


class ByteLMTask:
    """Windows that begin anywhere in the text, drawn by seed and step."""

    name = "byte-lm"
    unit = "bits per byte"

    def __init__(self, model: ByteLMConfig, text: bytes) -> None:
        """Training on ``text``.

        Raises:
            ConfigValueError: it is shorter than one window.
        """
        if len(text) <= model.context:
            raise ConfigValueError(
                f"the shard has {len(text):,} bytes of text, a window needs {model.context + 1:,}; "
                "the run needs larger shards or a shorter context"
            )
        self._model = model
        self._text_N = np.frombuffer(text, dtype=np.uint8)

    def module(self) -> nn.Module:
        return build(self._model)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        width = self._model.context + 1
        draws = np.random.default_rng([seed, step])
        starts_B = draws.integers(0, len(self._text_N) - width + 1, size=size)
        return {"windows": torch.from_numpy(self._text_N[starts_B[:, None] + np.arange(width)])}

    @property
    def examples(self) -> int:
        """Windows that have no byte in common, for whoever must be able to leave one out."""
        return len(self._text_N) // (self._model.context + 1)

    def pick(self, numbers: NDArray[np.int64]) -> Batch:
        """Those of them."""
        width = self._model.context + 1
        return {"windows": torch.from_numpy(self._text_N[numbers[:, None] * width + np.arange(width)])}

    def loss(self, module: Any, batch: Batch) -> Loss:
        windows_BT1 = batch["windows"].long()
        logits_BTV = module(windows_BT1[:, :-1])
        wanted_N = windows_BT1[:, 1:].flatten()
        total = functional.cross_entropy(logits_BTV.float().flatten(0, 1), wanted_N, reduction="sum")
        return Loss(total, len(wanted_N))

    def tokens(self, examples: int) -> int:
        return examples * self._model.context
