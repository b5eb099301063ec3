"""A trunk that answers, as tests see it: of each example it tells which of some answers is right.

It reads no text. Tests of text ask it to encode one, and are told so in a sentence.

B  examples in a batch
N  examples
W  bytes of an example
C  answers
P  parameters
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from barnraise.errors import AcceptanceError
from barnraise.model_config import ModelConfig
from barnraise.updates.space import ParameterSpace, model_digest
from coordinator.acceptance.models.subject import Signature
from merge.architectures import Answering, architecture_of, load_flat, space_of

__all__ = ["AnsweringSubject", "AnswersExamples"]


@runtime_checkable
class AnswersExamples(Protocol):
    """What a test may ask of a model that answers."""

    def answer(self, examples_NW: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Logits, float32 [N, C], and the wanted answers, int64 [N].

        Args:
            examples_NW: uint8 [N, W], as the corpus has them.

        Raises:
            AcceptanceError: examples of another length, or an answer that the model does not have.
        """
        ...


class AnsweringSubject:
    """A model whose architecture answers.

    Args:
        flat_P: float32 [P], its parameters in ``space``; finite or not.

    Raises:
        AcceptanceError: the architecture does not answer.
    """

    end: int | None = None

    def __init__(self, flat_P: NDArray[np.float32], model: ModelConfig, space: ParameterSpace) -> None:
        architecture = architecture_of(model)
        if not isinstance(architecture, Answering):
            raise AcceptanceError(f"acceptance tests cannot look at a model of architecture {model.architecture}")
        self._build = architecture.build
        self._split = architecture.split
        self._flat_P = flat_P
        self._model = model
        self._space = space

    @cached_property
    def _module(self) -> nn.Module:
        module = self._build().eval()
        if space_of(module).digest != self._space.digest:
            raise AcceptanceError(
                f"the model cannot be loaded: {self._model.architecture} as it is described has other parameters than "
                f"the {self._space.size:,} that are there; is this Barnraise older than the model?"
            )
        load_flat(module, self._space, self._flat_P)
        return module

    @cached_property
    def digest(self) -> str:
        return model_digest(self._space, self._space.tensor_digests(self._flat_P))

    @property
    def context(self) -> int:
        return self._model.example_bytes - 1

    @property
    def size_bytes(self) -> int:
        return int(self._flat_P.nbytes)

    @cached_property
    def signature(self) -> Signature:
        inputs, _ = self._split(torch.zeros(1, self._model.example_bytes, dtype=torch.uint8))
        logits_1C = self.logits(inputs)
        shape: tuple[int | str, ...] = ("B", *inputs.shape[1:])
        dtypes = [str(tensor.dtype).removeprefix("torch.") for tensor in (inputs, logits_1C)]
        return Signature({"inputs": (dtypes[0], shape)}, {"logits": (dtypes[1], ("B", *logits_1C.shape[1:]))})

    def encode(self, text: bytes) -> list[int]:
        self._reads_no_text()

    def decode(self, tokens: list[int]) -> bytes:
        self._reads_no_text()

    def _reads_no_text(self) -> NoReturn:
        raise AcceptanceError(
            f"{self._model.architecture} answers examples and reads no text; ask for loss (per answer), accuracy or "
            "calibration of a shard, or for size or signature"
        )

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Of each input, float32 [B, C]; inputs as the architecture has them, of any type."""
        with torch.inference_mode():
            found: Any = self._module(tokens_BT)
        return torch.as_tensor(found).float()

    def answer(self, examples_NW: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        if examples_NW.shape[1] != self._model.example_bytes:
            raise AcceptanceError(
                f"an example has {examples_NW.shape[1]} bytes, {self._model.architecture} reads "
                f"{self._model.example_bytes}; these examples are of another run"
            )
        inputs, wanted_N = self._split(torch.from_numpy(np.ascontiguousarray(examples_NW)))
        logits_NC = self.logits(inputs)
        if len(wanted_N) and int(wanted_N.max()) >= logits_NC.shape[1]:
            raise AcceptanceError(
                f"an example's answer is {int(wanted_N.max())}, the model has {logits_NC.shape[1]}, from 0; raise "
                "model.classes, or mend the data"
            )
        return logits_NC, wanted_N
