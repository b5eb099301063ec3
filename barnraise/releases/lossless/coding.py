"""Tensors to blocks and back: the header, the threads, and compiled loops or numpy.

    file = magic "BRLT" | format u8 | layout u8 | against a base u8 | 0 u8 | size u64 | blocks

All numbers are little-endian. Blocks are 1 MiB of the tensor, the last one less, and know nothing of
each other; blocks.py says what is in them. The same tensor and base give the same bytes on every
machine, with and without compiled loops. What is decoded is not trusted, but a file that says
something else than it should can only be found by the digest of the tensor, which is the
caller's to compare.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from barnraise import native
from barnraise.errors import VerificationError
from barnraise.native import lossless as loops
from barnraise.releases.lossless.blocks import BLOCK, decode_block, encode_block
from barnraise.releases.lossless.frequencies import logarithms
from barnraise.releases.lossless.layouts import Layout, layout_of
from barnraise.releases.lossless.planes import HEAD_BYTES, parse_head, read_head
from barnraise.releases.lossless.rooms import room

__all__ = ["BLOCK", "Buffer", "Readable", "decode", "decode_into", "decoded", "encode", "encoded"]

Buffer = bytes | bytearray | memoryview
Bytes = NDArray[np.uint8]
Encode = Callable[[Bytes, Bytes | None], bytes]
Decode = Callable[[int, Bytes, Bytes | None, Bytes], None]

_HEADER = struct.Struct("<4sBBBBQ")
_MAGIC = b"BRLT"
_FORMAT = 1
_AT_ONCE = 8  # blocks for each of several threads that are held while they are handed on; one alone holds one


class Readable(Protocol):
    """Bytes that are read from any place."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""

    def read(self, memory: memoryview, at: int) -> None:
        """Fill ``memory`` with those from ``at`` on.

        Raises:
            VerificationError: there are not so many.
        """


def encode(data: Buffer, dtype: str, base: Buffer | None = None, *, check: bool = False) -> bytes:
    """The tensor in fewer bytes.

    Args:
        data: a tensor's little-endian bytes.
        dtype: as safetensors names it; any other name is compressed as bytes.
        base: bytes of the tensor that this one came from, of the same dtype and shape, if there is one.
        check: whether every block is decoded and compared as soon as it is encoded, while both are in the
            processor's cache.

    Raises:
        ValueError: the base has another size, or the size is not one of whole elements.
        VerificationError: a block that was checked does not come back.
    """
    return b"".join(encoded(data, dtype, base, check=check))


def encoded(data: Buffer, dtype: str, base: Buffer | None = None, *, check: bool = False) -> Iterator[bytes]:
    """What :func:`encode` gives, in parts, while a few MiB are held; ``data`` may be mapped from a file."""
    layout, source = layout_of(dtype), _array(data)
    before = None if base is None else _array(base)
    _check_sizes(len(source), before, layout, dtype)
    yield _HEADER.pack(_MAGIC, _FORMAT, layout.number, before is not None, 0, len(source))
    encode_one = _checking(_encoder(layout), _decoder(layout)) if check else _encoder(layout)
    step = BLOCK * (_AT_ONCE * native.threads() if native.threads() > 1 else 1)
    for first in range(0, len(source), step):
        part = source[first : first + step]
        blocks = [b""] * -(-len(part) // BLOCK)
        _encode_part(encode_one, part, None if before is None else before[first : first + len(part)], blocks)
        yield from blocks


def decode(data: Buffer, dtype: str, size_bytes: int, base: Buffer | None = None) -> memoryview:
    """The tensor that :func:`encode` was given, in a new buffer of ``size_bytes``; see :func:`decode_into`."""
    out = np.empty(size_bytes, dtype=np.uint8)
    decode_into(data, dtype, out.data, base)
    return out.data


def decode_into(data: Buffer, dtype: str, out: bytearray | memoryview, base: Buffer | None = None) -> None:
    """Write the tensor that :func:`encode` was given.

    Args:
        data: what :func:`encode` returned; not trusted.
        dtype, base: as they were given to it.
        out: writable bytes, as many as the tensor has. What they hold after an error means nothing.

    Raises:
        VerificationError: not the encoding of a tensor of this dtype and size, with or without a base.
        ValueError: the base has another size, or the size is not one of whole elements.
    """
    layout, target = layout_of(dtype), _array(out)
    before = None if base is None else _array(base)
    _check_sizes(len(target), before, layout, dtype)
    _check_header(data, _HEADER.pack(_MAGIC, _FORMAT, layout.number, before is not None, 0, len(target)))
    blocks = _find_blocks(data, -(-len(target) // BLOCK))
    source = _array(data)

    decode_one = _decoder(layout)

    def work(start: int, end: int) -> None:
        for index in range(start, end):
            kind, first, last = blocks[index]
            within = slice(index * BLOCK, (index + 1) * BLOCK)
            decode_one(kind, source[first:last], None if before is None else before[within], target[within])

    native.spread(work, len(blocks), 1)


def decoded(
    file: Readable, dtype: str, size_bytes: int, piece_bytes: int, bases: Iterator[Bytes] | None = None
) -> Iterator[Bytes]:
    """The tensor that :func:`encode` was given, in pieces; each is written over by the next.

    So all of it stays in the processor's cache, from the file to whoever takes a piece, and no more than a
    piece is in memory, however large the tensor is. On one thread.

    Args:
        file: what :func:`encode` returned; not trusted, and read once from its beginning to its end.
        dtype: as it was given to it. size_bytes: of the tensor.
        piece_bytes: of every piece but the last; a multiple of ``BLOCK``.
        bases: the same pieces of the base, if it was given one.

    Raises:
        VerificationError: see :func:`decode_into`; that there is too much, after the last piece.
    """
    assert piece_bytes % BLOCK == 0, piece_bytes
    layout = layout_of(dtype)
    decode_one = _decoder(layout)
    header = bytearray(_HEADER.size)
    file.read(memoryview(header), 0)
    _check_header(header, _HEADER.pack(_MAGIC, _FORMAT, layout.number, bases is not None, 0, size_bytes))
    at = _HEADER.size
    with room(piece_bytes) as piece:
        for first in range(0, size_bytes, piece_bytes):
            out = piece[: min(piece_bytes, size_bytes - first)]
            base = None if bases is None else next(bases)
            with room(HEAD_BYTES + BLOCK) as body:  # free again for whoever is built upon this
                for start in range(0, len(out), BLOCK):
                    block = slice(start, start + BLOCK)
                    kind, length = _read_block(file, at, body)
                    content = body[HEAD_BYTES : HEAD_BYTES + length]
                    decode_one(kind, content, None if base is None else base[block], out[block])
                    at += HEAD_BYTES + length
            yield out
    _check_end(file.size_bytes, at)


def _read_block(file: Readable, at: int, memory: Bytes) -> tuple[int, int]:
    """Read a block with its head into ``memory``; its kind, and the bytes that follow the head."""
    file.read(memory[:HEAD_BYTES].data, at)
    kind, length = parse_head(memory[:HEAD_BYTES].tobytes())
    _check_length(length)
    file.read(memory[HEAD_BYTES : HEAD_BYTES + length].data, at + HEAD_BYTES)
    return kind, length


def _encode_part(encode_one: Encode, part: Bytes, base: Bytes | None, blocks: list[bytes]) -> None:
    def work(start: int, end: int) -> None:
        for index in range(start, end):
            within = slice(index * BLOCK, (index + 1) * BLOCK)
            blocks[index] = encode_one(part[within], None if base is None else base[within])

    native.spread(work, len(blocks), 1)


def _encoder(layout: Layout) -> Encode:
    """What encodes a block, on any thread."""
    if loops.available():
        return _coder(layout).encode

    def plain(block: Bytes, base: Bytes | None) -> bytes:
        return encode_block(block.view(layout.words), None if base is None else base.view(layout.words), layout)

    return plain


def _checking(encode_one: Encode, decode_one: Decode) -> Encode:
    """``encode_one``, whose blocks are compared with what they decode to."""

    def checked(block: Bytes, base: Bytes | None) -> bytes:
        written = encode_one(block, base)
        kind, start, end = read_head(written, 0)
        with room(BLOCK) as memory:
            again = memory[: len(block)]
            decode_one(kind, _array(written)[start:end], base, again)
            if not np.array_equal(again, block):
                raise VerificationError(
                    "a block does not come back as it was: its file is being changed, or this machine's memory is at "
                    "fault; try again"
                )
        return written

    return checked


def _decoder(layout: Layout) -> Decode:
    """What decodes a block, on any thread."""
    if loops.available():
        coder = _coder(layout)

        def compiled(kind: int, body: Bytes, base: Bytes | None, out: Bytes) -> None:
            if not coder.decode(kind, body, base, out):
                raise VerificationError(f"a block of kind {kind} with {len(body)} bytes is damaged; fetch it again")

        return compiled

    def plain(kind: int, body: Bytes, base: Bytes | None, out: Bytes) -> None:
        before = None if base is None else base.view(layout.words)
        out.view(layout.words)[:] = decode_block(kind, body.tobytes(), before, len(out) // layout.width, layout)

    return plain


def _coder(layout: Layout) -> loops.BlockCoder:
    words = loops.WordLayout(layout.width, layout.shift, layout.mask, layout.is_float, layout.tokens)
    return loops.BlockCoder(words, logarithms())


def _find_blocks(data: Buffer, count: int) -> list[tuple[int, int, int]]:
    """Kind, start and end of every block.

    Raises:
        VerificationError: there are more bytes, or fewer, than the blocks have.
    """
    blocks = []
    at = _HEADER.size
    for _ in range(count):
        kind, start, at = read_head(data, at)
        _check_length(at - start)
        blocks.append((kind, start, at))
    _check_end(len(data), at)
    return blocks


def _check_length(length: int) -> None:
    if length > BLOCK:
        raise VerificationError(f"a block says that it takes {length:,} bytes, it has {BLOCK:,}; fetch it again")


def _check_end(size: int, at: int) -> None:
    if at != size:
        raise VerificationError(f"a compressed tensor has {size} bytes, its blocks {at}; fetch it again")


def _check_header(data: Buffer, expected: bytes) -> None:
    header = bytes(data[: _HEADER.size])
    if header != expected:
        raise VerificationError(
            f"a compressed tensor begins with {header.hex()}, expected {expected.hex()} (format, dtype, base, size); "
            "fetch it again, or give the parent's tensor that it was made against"
        )


def _check_sizes(size: int, base: Bytes | None, layout: Layout, dtype: str) -> None:
    if size % layout.width:
        raise ValueError(f"{size} bytes are not a whole number of {dtype}")
    if base is not None and len(base) != size:
        raise ValueError(f"the base has {len(base)} bytes, the tensor {size}")


def _array(data: Buffer) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)
