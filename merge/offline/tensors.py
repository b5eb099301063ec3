"""What an offline merge reads from and writes to, and how stored bytes become float32.

A merge opens no file: whoever calls it hands in sources and a sink. float32 holds every
value of bfloat16 and float16 exactly, so inputs of different types meet there without loss;
the only rounding is the last one, to the type of the result.

B  elements of a block
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["DTYPES", "TensorSink", "TensorSource", "all_finite", "stored_bytes", "stored_values"]

DTYPES: dict[str, torch.dtype] = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""What can be merged, by the names that safetensors gives."""


class TensorSource(Protocol):
    """The tensors of one model. Blocks of one tensor are asked for in order, by one thread at a time."""

    def dtype(self, name: str) -> str:
        """The stored type of a tensor, such as ``BF16``."""
        ...

    def block(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        """The bytes of elements ``[start, end)``, uint8; valid until they are released, and not to be changed."""
        ...

    def release(self, name: str, start: int, end: int) -> None:
        """The block will not be needed for a while."""
        ...


class TensorSink(Protocol):
    """Where the merged model goes."""

    def put(self, name: str, start: int, data: NDArray[np.uint8]) -> None:
        """The bytes of elements from ``start`` on. Blocks of one tensor come in order, several tensors at once."""
        ...


def stored_values(source: TensorSource, name: str, start: int, end: int) -> Tensor:
    """A block as it is stored: float32, bfloat16 or float16 [B], a view where the bytes lie aligned."""
    data = source.block(name, start, end)
    dtype = DTYPES[source.dtype(name)]
    if not data.view(f"u{dtype.itemsize}").flags.aligned:
        data = data.copy()
    return torch.from_numpy(data).view(dtype)


def stored_bytes(values_B: Tensor) -> NDArray[np.uint8]:
    """The bytes of float32, bfloat16 or float16 [B]; shares their memory."""
    data: NDArray[np.uint8] = values_B.view(torch.uint8).numpy()
    return data


def all_finite(values_B: Tensor) -> bool:
    """Whether there is no NaN and no infinity.

    A sum is not finite if one of its terms is not, and costs one read; only a sum that
    overflowed is looked at more closely.
    """
    return math.isfinite(values_B.sum().item()) or bool(torch.isfinite(values_B).all())
