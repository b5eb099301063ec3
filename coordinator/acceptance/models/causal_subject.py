"""A trunk of the architecture ``causal-lm`` as tests see it: a model of transformers with its own tokeniser.

Everything is computed in float32 on the CPU. Losses per byte compare across vocabularies.

B  texts in a batch
T  tokens of a text
V  vocabulary
P  parameters
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from barnraise.errors import AcceptanceError
from barnraise.model_config import CausalLMConfig
from barnraise.tokenizer import Tokenizer
from barnraise.updates.space import ParameterSpace, model_digest
from coordinator.acceptance.models.subject import Signature
from merge.architectures import build, load_flat, space_of

__all__ = ["CausalSubject"]


class CausalSubject:
    """A causal language model.

    Args:
        flat_P: float32 [P], its parameters in ``space``; finite or not.
        tokenizer: the one that travels with its releases.
    """

    def __init__(
        self, flat_P: NDArray[np.float32], model: CausalLMConfig, space: ParameterSpace, tokenizer: Tokenizer
    ) -> None:
        self._flat_P = flat_P
        self._model = model
        self._space = space
        self._tokenizer = tokenizer

    @cached_property
    def _module(self) -> nn.Module:
        module = build(self._model).eval()
        built = space_of(module)
        if built.digest != self._space.digest:
            raise AcceptanceError(
                f"the model cannot be loaded: its configuration makes {built.size:,} parameters in "
                f"{len(built.tensors)} tensors here, there are {self._space.size:,} in {len(self._space.tensors)}; "
                "install the version of transformers that the run was made with"
            )
        load_flat(module, self._space, self._flat_P)
        return module

    @cached_property
    def digest(self) -> str:
        return model_digest(self._space, self._space.tensor_digests(self._flat_P))

    @property
    def context(self) -> int:
        return self._model.context

    @property
    def end(self) -> int | None:
        return self._tokenizer.end

    @property
    def size_bytes(self) -> int:
        return int(self._flat_P.nbytes)

    @cached_property
    def signature(self) -> Signature:
        logits_11V = self.logits(torch.zeros(1, 1, dtype=torch.int64))
        dtype = str(logits_11V.dtype).removeprefix("torch.")
        return Signature({"input_ids": ("int64", ("B", "T"))}, {"logits": (dtype, ("B", "T", logits_11V.shape[2]))})

    def encode(self, text: bytes) -> list[int]:
        return self._tokenizer.before + self._tokenizer.encode(text)

    def decode(self, tokens: list[int]) -> bytes:
        return self._tokenizer.decode(tokens)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Any = self._module(input_ids=tokens_BT, use_cache=False).logits
        return torch.as_tensor(found).float()
