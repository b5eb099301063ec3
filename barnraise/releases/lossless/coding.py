"""Encode and decode one tensor: XOR against a base, byte planes apart, zstandard.

magic "BRL0" | size u64 | frame
"""

from __future__ import annotations

import struct

import numpy as np
import zstandard
from numpy.typing import NDArray

from barnraise.errors import VerificationError

__all__ = ["WIDTHS", "Buffer", "decode", "decode_into", "encode"]

Buffer = bytes | bytearray | memoryview
WIDTHS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("BF16", "F16", "I16", "U16"), 2),
}
_MAGIC = b"BRL0"
_HEADER = struct.Struct("<4sQ")


def encode(data: Buffer, dtype: str, base: Buffer | None = None) -> bytes:
    """The tensor in fewer bytes.

    Args:
        data: a tensor's little-endian bytes.
        dtype: as safetensors names it; any other name is compressed as bytes.
        base: bytes of the tensor that this one came from, of the same dtype and shape, if there is one.

    Raises:
        ValueError: the base has another size.
    """
    planes = _planes(_array(data), base, dtype)
    frame = zstandard.ZstdCompressor(level=3, write_content_size=False).compress(planes.tobytes())
    return _HEADER.pack(_MAGIC, len(planes)) + frame


def decode(data: Buffer, dtype: str, size_bytes: int, base: Buffer | None = None) -> memoryview:
    """The tensor that :func:`encode` was given, in a new buffer of ``size_bytes``; see :func:`decode_into`."""
    out = memoryview(bytearray(size_bytes))
    decode_into(data, dtype, out, base)
    return out


def decode_into(data: Buffer, dtype: str, out: bytearray | memoryview, base: Buffer | None = None) -> None:
    """Write the tensor that :func:`encode` was given.

    Args:
        data: what :func:`encode` returned; not trusted.
        dtype, base: as they were given to it.
        out: writable bytes, as many as the tensor has. What they hold after an error means nothing.

    Raises:
        VerificationError: not an encoding of a tensor of this size.
        ValueError: the base has another size.
    """
    target = _array(out)
    if len(data) < _HEADER.size or _HEADER.unpack_from(data) != (_MAGIC, len(target)):
        raise VerificationError(f"not a compressed tensor of {len(target)} bytes; fetch it again")
    planes = np.empty(len(target), dtype=np.uint8)
    at = 0
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(memoryview(data)[_HEADER.size :])
        while at < len(planes) and (some := reader.readinto(memoryview(planes)[at:])):
            at += some
        more = reader.read(1)
    except zstandard.ZstdError as error:
        raise VerificationError(f"a compressed tensor is damaged ({error}); fetch it again") from error
    if at < len(planes) or more:
        raise VerificationError(f"a compressed tensor does not give {len(planes)} bytes; fetch it again")
    width = WIDTHS.get(dtype, 1)
    whole = len(target) // width * width
    target[:whole].reshape(-1, width)[:] = planes[:whole].reshape(width, -1).T
    target[whole:] = planes[whole:]
    if base is not None:
        target ^= _base(base, len(target))


def _planes(source: NDArray[np.uint8], base: Buffer | None, dtype: str) -> NDArray[np.uint8]:
    change = source if base is None else source ^ _base(base, len(source))
    width = WIDTHS.get(dtype, 1)
    whole = len(change) // width * width
    return np.concatenate([change[:whole].reshape(-1, width).T.reshape(-1), change[whole:]])


def _array(data: Buffer) -> NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)


def _base(base: Buffer, size: int) -> NDArray[np.uint8]:
    if len(base) != size:
        raise ValueError(f"the base has {len(base)} bytes, the tensor {size}")
    return _array(base)
