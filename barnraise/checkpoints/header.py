"""The header of a safetensors file, read without believing it and written so that tensors lie aligned.

    length u64 | JSON, padded with spaces to a multiple of 8 | the tensors' bytes

Everything is bounded before it is parsed, and every place that the header names is compared
with the file's size: tensors follow each other without gaps or overlaps, each as long as its
shape and type say, to the end of the file.

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.errors import NotACheckpointError

__all__ = ["HEADER_MAX_BYTES", "StoredTensor", "encode_header", "parse_header"]

HEADER_MAX_BYTES = 1 << 24  # room for 100,000 tensors; JSON takes many times its size when parsed
RANK_MAX = 32
ELEMENTS_MAX = 1 << 48
METADATA = "__metadata__"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        dtype: as the format calls it, such as ``BF16``.
        begin: first byte in the file. end: where it ends.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Elements; 1 for a scalar, 0 for an empty tensor."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin


def parse_header(start: bytes | memoryview, file_bytes: int, label: str) -> list[StoredTensor]:
    """Read and check a header.

    Args:
        start: the first bytes of the file, at least the header if it is as long as it may be.
        file_bytes: size of the whole file.
        label: how to call the file in an error.

    Raises:
        NotACheckpointError: anything is not as the format says.
    """
    if file_bytes < 8:
        raise NotACheckpointError(f"{label} has {file_bytes} bytes, a safetensors file at least 8; get it again")
    length = int.from_bytes(start[:8], "little")
    if bytes(start[8:9]) != b"{":
        raise NotACheckpointError(f"{label} is no safetensors file: its header is no JSON object")
    if length > HEADER_MAX_BYTES:
        raise NotACheckpointError(
            f"{label} announces a header of {length:,} bytes, at most {HEADER_MAX_BYTES:,} are read"
        )
    if 8 + length > file_bytes:
        raise NotACheckpointError(
            f"{label} has {file_bytes:,} bytes, its header alone needs {8 + length:,}; it is cut short, get it again"
        )
    value = _json(bytes(start[8 : 8 + length]), label)
    value.pop(METADATA, None)
    tensors = [_tensor(name, entry, 8 + length, label) for name, entry in value.items()]
    _check_layout(sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)), 8 + length, file_bytes, label)
    return tensors


def encode_header(tensors: Sequence[StoredTensor], metadata: Mapping[str, str]) -> bytes:
    """Length and padded JSON for tensors whose places are counted from the header's end."""
    value: dict[str, object] = {METADATA: dict(metadata)}
    for tensor in tensors:
        value[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [tensor.begin, tensor.end],
        }
    text = json.dumps(value, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _json(raw: bytes, label: str) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise NotACheckpointError(f"{label}: the header is no JSON that can be read ({error})") from error
    assert isinstance(value, dict), "it begins with a brace"
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands there twice")
    return value


def _tensor(name: str, entry: Any, data_begin: int, label: str) -> StoredTensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise NotACheckpointError(f"{label}: tensor {name!a} must have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise NotACheckpointError(f"{label}: tensor {name!a} is of type {str(dtype)[:32]!a}, which is not known here")
    if not _sizes(shape, RANK_MAX):
        raise NotACheckpointError(f"{label}: tensor {name!a} has no shape that a tensor can have")
    if not _sizes(offsets, 2) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise NotACheckpointError(f"{label}: tensor {name!a} does not say where it begins and ends")
    elements = math.prod(shape)
    if elements > ELEMENTS_MAX or offsets[1] - offsets[0] != elements * ITEM_BYTES[dtype]:
        raise NotACheckpointError(
            f"{label}: tensor {name!a} takes {offsets[1] - offsets[0]:,} bytes, {dtype} {shape} needs "
            f"{elements * ITEM_BYTES[dtype]:,}"
        )
    return StoredTensor(name, dtype, tuple(shape), data_begin + offsets[0], data_begin + offsets[1])


def _sizes(values: Any, most: int) -> bool:
    if not isinstance(values, list) or len(values) > most:
        return False
    return all(type(value) is int and 0 <= value <= ELEMENTS_MAX for value in values)


def _check_layout(ordered: Sequence[StoredTensor], data_begin: int, file_bytes: int, label: str) -> None:
    place = data_begin
    for tensor in ordered:
        if tensor.begin != place:
            raise NotACheckpointError(
                f"{label}: tensor {tensor.name!a} begins at byte {tensor.begin:,}, expected {place:,}; "
                "tensors must follow each other without gaps or overlaps"
            )
        place = tensor.end
    if place != file_bytes:
        what = "cut short" if place > file_bytes else "longer than it says"
        raise NotACheckpointError(
            f"{label} has {file_bytes:,} bytes, its header describes {place:,}: it is {what}; get it again"
        )
