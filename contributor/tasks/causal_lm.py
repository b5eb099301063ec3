"""Next-token prediction: windows of a text in the tokens of the trunk's own tokeniser.

B  windows in a batch
T  tokens that the model sees at once
N  tokens of the shard
V  vocabulary
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from barnraise.errors import ConfigValueError
from barnraise.model_config import CausalLMConfig
from barnraise.tokenizer import Tokenizer
from contributor.tasks.task import Batch, Loss
from merge.architectures import build

__all__ = ["CausalLMTask"]

PIECE_BYTES = 1 << 20


class CausalLMTask:
    """Windows that begin at any token, drawn by seed and step."""

    name = "causal-lm"
    unit = "bits per token"

    def __init__(self, model: CausalLMConfig, tokenizer: Tokenizer, text: bytes) -> None:
        """Training on ``text``.

        Raises:
            ConfigValueError: it is shorter than one window.
        """
        self._model = model
        tokens = [token for piece in _pieces(text) for token in tokenizer.encode(piece)]
        if len(tokens) <= model.context:
            raise ConfigValueError(
                f"there are {len(text):,} bytes of text, {len(tokens):,} tokens, and a window needs "
                f"{model.context + 1:,}; more text is needed, or a run with a shorter context"
            )
        self._tokens_N = np.array(tokens, dtype=np.int32)

    def module(self) -> nn.Module:
        return build(self._model)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        width = self._model.context + 1
        starts_B = np.random.default_rng([seed, step]).integers(0, len(self._tokens_N) - width + 1, size=size)
        return {"windows": torch.from_numpy(self._tokens_N[starts_B[:, None] + np.arange(width)])}

    @property
    def examples(self) -> int:
        """Windows that have no token in common, for whoever must be able to leave one out."""
        return len(self._tokens_N) // (self._model.context + 1)

    def pick(self, numbers: NDArray[np.int64]) -> Batch:
        """Those of them."""
        width = self._model.context + 1
        return {"windows": torch.from_numpy(self._tokens_N[numbers[:, None] * width + np.arange(width)])}

    def loss(self, module: Any, batch: Batch) -> Loss:
        windows_BT1 = batch["windows"].long()
        logits_BTV = module(input_ids=windows_BT1[:, :-1], use_cache=False).logits
        wanted_N = windows_BT1[:, 1:].flatten()
        total = functional.cross_entropy(logits_BTV.float().flatten(0, 1), wanted_N, reduction="sum")
        return Loss(total, len(wanted_N))

    def tokens(self, examples: int) -> int:
        return examples * self._model.context


def _pieces(text: bytes) -> list[bytes]:
    """The text in parts that end with a line where they can, for a tokeniser is slow on one long text."""
    pieces = []
    start = 0
    while start < len(text):
        end = min(start + PIECE_BYTES, len(text))
        line = text.rfind(b"\n", start, end)
        end = line + 1 if end < len(text) and line >= start else end
        pieces.append(text[start:end])
        start = end
    return pieces
