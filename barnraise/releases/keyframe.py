"""A whole model as one safetensors file, in the one encoding that a given model has.

    length u64 | JSON header, sorted, padded with spaces to a multiple of 8 | tensors, float32

The header follows from the layout alone. A reader knows the layout from the manifest, so it
parses nothing: it writes the header that has to be there, and compares.

P  elements in the whole space

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import canonical_json
from barnraise.errors import VerificationError
from barnraise.updates.space import ParameterSpace

__all__ = ["keyframe_header", "keyframe_size", "parse_keyframe", "write_keyframe"]


def keyframe_header(space: ParameterSpace) -> bytes:
    """Length and padded JSON of a model's file. ``format: pt`` is what transformers looks for."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for spec, start in zip(space.tensors, space.tensor_starts[:-1].tolist(), strict=True):
        offsets = [4 * start, 4 * (start + spec.size)]
        header[spec.name] = {"data_offsets": offsets, "dtype": spec.dtype, "shape": list(spec.shape)}
    text = canonical_json(header)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def keyframe_size(space: ParameterSpace) -> int:
    """Bytes of the file of any model with this layout."""
    return len(keyframe_header(space)) + 4 * space.size


def write_keyframe(space: ParameterSpace, flat_P: NDArray[np.float32]) -> bytes:
    """The file of a model.

    Args:
        flat_P: float32 [P].
    """
    assert flat_P.shape == (space.size,), (flat_P.shape, space.size)
    return b"".join([keyframe_header(space), np.ascontiguousarray(flat_P, dtype="<f4").data])


def parse_keyframe(data: bytes | memoryview, space: ParameterSpace) -> NDArray[np.float32]:
    """The flat vector in a model's file: float32 [P], a read-only view into ``data``.

    Raises:
        VerificationError: not the file of a model with this layout. The values are not looked
            at; their digests are in the manifest.
    """
    header = keyframe_header(space)
    if len(data) != len(header) + 4 * space.size:
        raise VerificationError(
            f"the model file has {len(data)} bytes, its layout needs {len(header) + 4 * space.size}; pull it again"
        )
    if bytes(data[: len(header)]) != header:
        raise VerificationError("the model file's header is not the one its layout has; pull it again")
    flat_P = np.frombuffer(data, dtype="<f4", offset=len(header))
    return flat_P.astype(np.float32, copy=False)
