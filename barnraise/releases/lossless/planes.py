"""A run of bytes on its own: as it is, as one byte that repeats, or entropy coded.

    section = method u8 | length u24 | body

    raw       the bytes
    constant  one byte, which all of them are
    coded     a table of frequencies | stream

N  bytes
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import VerificationError
from barnraise.releases.lossless import frequencies, rans
from barnraise.releases.lossless.bits import BitReader, pack

__all__ = ["HEAD_BYTES", "parse_head", "read_head", "read_section", "write_head", "write_section"]

RAW, CONSTANT, CODED = range(3)
_HEAD = struct.Struct("<I")
HEAD_BYTES = _HEAD.size


def write_head(method: int, length: int) -> bytes:
    assert 0 <= length < 1 << 24, length
    return _HEAD.pack(method << 24 | length)


def parse_head(head: bytes) -> tuple[int, int]:
    """Method and length of the body, from the ``HEAD_BYTES`` before it."""
    (value,) = _HEAD.unpack(head)
    return value >> 24, value & 0xFFFFFF


def read_head(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int, int]:
    """Method, where the body begins, and where it ends.

    Raises:
        VerificationError: it ends after the data.
    """
    start = at + HEAD_BYTES
    if len(data) >= start:
        method, length = parse_head(bytes(data[at:start]))
        if length <= len(data) - start:
            return method, start, start + length
    raise VerificationError(f"a compressed tensor ends after {len(data)} bytes; fetch it again")


def write_section(plane_N: NDArray[np.uint8]) -> bytes:
    """The bytes as a section: coded if that is expected to save a 32nd of them.

    Args:
        plane_N: at least one.
    """
    counts = np.bincount(plane_N, minlength=256).astype(np.int64)
    if counts.max() == len(plane_N):
        return write_head(CONSTANT, 1) + plane_N[:1].tobytes()
    table = frequencies.normalise(counts)
    written = pack(frequencies.write([table]))
    size = len(written) + 4 * rans.lanes_for(len(plane_N)) + frequencies.cost(counts, table)
    if size >= len(plane_N) - len(plane_N) // 32:
        return write_head(RAW, len(plane_N)) + plane_N.tobytes()
    body = written + rans.encode(plane_N, np.zeros(len(plane_N), dtype=np.uint8), table[None])
    return write_head(CODED, len(body)) + body


def read_section(data: bytes, at: int, count: int) -> tuple[NDArray[np.uint8], int]:
    """The ``count`` bytes of a section, and where it ends.

    Raises:
        VerificationError: not a section of so many bytes.
    """
    method, start, end = read_head(data, at)
    body = data[start:end]
    if method == RAW and len(body) == count:
        return np.frombuffer(body, dtype=np.uint8), end
    if method == CONSTANT and len(body) == 1:
        return np.full(count, body[0], dtype=np.uint8), end
    if method != CODED:
        raise VerificationError(f"a section of {len(body)} bytes cannot have method {method}; fetch the tensor again")
    bits = BitReader(body)
    tables = frequencies.read(bits, 1, 256)
    return rans.decode(body[bits.end() :], np.zeros(count, dtype=np.uint8), tables), end
