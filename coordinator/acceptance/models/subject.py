"""The model that a test looks at: what every kind of test may ask of it.

A subject has text in and probabilities out, whatever is inside; a byte-level trunk is one
(:class:`ByteSubject`), a folder that other software made is another (folder_subject.py). Tests
never see anything of a model but this.

B  texts in a batch
T  tokens of a text
V  vocabulary
P  parameters
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.errors import AcceptanceError
from barnraise.model_config import ByteLMConfig
from barnraise.updates.space import ParameterSpace, model_digest
from coordinator.acceptance.models.attachments import Attachment
from coordinator.acceptance.models.tuning import Tuning, tune
from merge.architectures import ByteLM, build, load_flat, space_of

__all__ = ["Adaptable", "ByteSubject", "Signature", "Subject"]


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes in and what comes out: name -> (dtype, shape), letters for what varies."""

    inputs: dict[str, tuple[str, tuple[int | str, ...]]]
    outputs: dict[str, tuple[str, tuple[int | str, ...]]]


class Subject(Protocol):
    """A language model under test."""

    @property
    def digest(self) -> str:
        """Of all tensors, as a release's manifest states it; what was measured is kept under it."""
        ...

    @property
    def context(self) -> int:
        """Tokens that it sees at once."""
        ...

    @property
    def end(self) -> int | None:
        """The token with which it ends a text, if it has one."""
        ...

    @property
    def size_bytes(self) -> int:
        """Of its parameters, as they are stored."""
        ...

    @property
    def signature(self) -> Signature:
        """What it really takes and gives."""
        ...

    def encode(self, text: bytes) -> list[int]:
        """The tokens of a text, after what the model wants to see before any text; ``decode`` gives the text back."""
        ...

    def decode(self, tokens: list[int]) -> bytes: ...

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Of the token after each one, float32 [B, T, V].

        Args:
            tokens_BT: int64 [B, T], T up to ``context``.
        """
        ...


@runtime_checkable
class Adaptable(Subject, Protocol):
    """A model of which others can be made: with an attachment, or trained further. It stays as it is itself."""

    def adapted(self, attachment: Attachment, scale: float = 1.0) -> Adaptable:
        """This model with an attachment.

        Raises:
            AcceptanceError: it does not fit.
        """
        ...

    def tuned(self, texts: Sequence[bytes], tuning: Tuning) -> Subject:
        """This model after some further steps of training.

        Raises:
            AcceptanceError: too little text.
        """
        ...


class ByteSubject:
    """A trunk whose tokens are bytes.

    Args:
        flat_P: float32 [P], its parameters in ``space``; finite or not.
    """

    def __init__(self, flat_P: NDArray[np.float32], model: ByteLMConfig, space: ParameterSpace) -> None:
        self._flat_P = flat_P
        self._model = model
        self._space = space

    @cached_property
    def _module(self) -> ByteLM:
        module = build(self._model).eval()
        built = space_of(module)
        if built.digest != self._space.digest:
            raise AcceptanceError(
                f"the model cannot be loaded: {self._model.architecture} as it is described has {built.size:,} "
                f"parameters in {len(built.tensors)} tensors, there are {self._space.size:,} in "
                f"{len(self._space.tensors)}; is this Barnraise older than the model?"
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
        return None

    @property
    def size_bytes(self) -> int:
        return int(self._flat_P.nbytes)

    @cached_property
    def signature(self) -> Signature:
        with torch.inference_mode():
            logits_11V = self._module(torch.zeros(1, 1, dtype=torch.int64))
        dtype = str(logits_11V.dtype).removeprefix("torch.")
        return Signature({"tokens": ("int64", ("B", "T"))}, {"logits": (dtype, ("B", "T", logits_11V.shape[2]))})

    def encode(self, text: bytes) -> list[int]:
        return list(text)

    def decode(self, tokens: list[int]) -> bytes:
        return bytes(tokens)

    def adapted(self, attachment: Attachment, scale: float = 1.0) -> Self:
        changed = attachment.applied_to(self._space.unflatten(self._flat_P), scale)
        return type(self)(self._space.flatten(changed), self._model, self._space)

    def tuned(self, texts: Sequence[bytes], tuning: Tuning) -> Self:
        return type(self)(tune(self._flat_P, self._model, self._space, texts, tuning), self._model, self._space)

    def made_into(self, other: Self) -> dict[str, NDArray[np.float32]]:
        """Name -> difference of another model of this architecture, tensor by tensor."""
        return self._space.unflatten(other._flat_P - self._flat_P)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Any = self._module(tokens_BT)
        return torch.as_tensor(found).float()
