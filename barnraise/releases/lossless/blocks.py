"""One block of a tensor, at most 1 MiB: in numpy, and the format that src/lossless.c has to keep to.

    block = kind u8 | length u24 | body

    raw      the bytes
    same     nothing: the block is the parent's
    change   which groups changed | tables | length u32 of the stream | stream of tokens | open bits
    planes   a section for every byte of a word, the most significant first

A group is 64 words. A bit each says whether one of them differs from the parent; the bits are a
section (see planes.py), and groups without a difference cost nothing else. Tables are how many
there are, u8; the lowest context of each but the last, u8; and the frequencies in bits. A word's
context is the exponent that the parent has there, and neighbouring contexts share a table.

Planes are for a block without a parent, or one that has little to do with it. The words of floats
are turned by one bit, so that the exponent fills the first byte and the sign is the lowest bit.

N  words
M  words of the groups that changed
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import VerificationError
from barnraise.releases.lossless import frequencies, rans
from barnraise.releases.lossless.bits import BitReader, pack, pack_all, unpack_all
from barnraise.releases.lossless.differences import contexts_of, differences, join, open_bits, restore, split
from barnraise.releases.lossless.layouts import Layout, Words
from barnraise.releases.lossless.planes import read_section, write_head, write_section

__all__ = ["BLOCK", "CHANGE", "GROUP", "PLANES", "RAW", "SAME", "decode_block", "encode_block"]

BLOCK = 1 << 20
GROUP = 64
RAW, SAME, CHANGE, PLANES = range(4)


def encode_block(words_N: Words, base_N: Words | None, layout: Layout) -> bytes:
    """A block with its head: planes are tried where the change takes more than two thirds; the shortest wins."""
    size = words_N.nbytes
    if base_N is not None and (words_N == base_N).all():
        return write_head(SAME, 0)
    best = None if base_N is None else (CHANGE, _write_change(words_N, base_N, layout))
    if best is None or 3 * len(best[1]) > 2 * size:
        planes = _write_planes(words_N, layout)
        if best is None or len(planes) < len(best[1]):
            best = PLANES, planes
    if len(best[1]) >= size:
        best = RAW, words_N.tobytes()
    return write_head(best[0], len(best[1])) + best[1]


def decode_block(kind: int, body: bytes, base_N: Words | None, count: int, layout: Layout) -> Words:
    """The ``count`` words of a block.

    Raises:
        VerificationError: not a block of so many words.
    """
    if kind == RAW and len(body) == count * layout.width:
        return np.frombuffer(body, dtype=layout.words)
    if kind == PLANES:
        return _read_planes(body, count, layout)
    if base_N is not None and kind == SAME and not body:
        return base_N
    if base_N is not None and kind == CHANGE:
        return _read_change(body, base_N, layout)
    raise VerificationError(f"a block of kind {kind} with {len(body)} bytes does not belong here; fetch it again")


def _write_change(words_N: Words, base_N: Words, layout: Layout) -> bytes:
    folded_N = differences(words_N, base_N, layout)
    starts = np.arange(0, len(folded_N), GROUP)
    changed = np.add.reduceat(folded_N != 0, starts, dtype=np.int64) > 0
    flags = write_section(np.packbits(changed, bitorder="little"))
    in_changed_N = _in_changed(changed, len(folded_N))
    folded_M, contexts_M = folded_N[in_changed_N], contexts_of(base_N, layout)[in_changed_N]
    tokens_M, open_M = split(folded_M, layout)
    pairs_M = contexts_M.astype(np.int64) * layout.tokens + tokens_M
    counts_CS = np.bincount(pairs_M, minlength=256 * layout.tokens).astype(np.int64).reshape(256, layout.tokens)
    lowest, gathered = frequencies.gather(counts_CS)
    tables_TS = np.stack([frequencies.normalise(counts) for counts in gathered])
    written = bytes([len(tables_TS), *lowest]) + pack(frequencies.write(list(tables_TS)))
    stream = rans.encode(tokens_M, _tables_of(contexts_M, lowest), tables_TS)
    low = pack_all(folded_M.astype(np.uint64) >> np.uint64(1), open_M)
    return flags + written + len(stream).to_bytes(4, "little") + stream + low


def _read_change(body: bytes, base_N: Words, layout: Layout) -> Words:
    groups = -(-len(base_N) // GROUP)
    flags, at = read_section(body, 0, -(-groups // 8))
    unpacked = np.unpackbits(flags, bitorder="little")
    if unpacked[groups:].any() or not unpacked.any():
        raise VerificationError("a block says of groups that there are not that they changed; fetch it again")
    in_changed_N = _in_changed(unpacked[:groups].astype(bool), len(base_N))
    count = int.from_bytes(body[at : at + 1], "little")
    lowest = list(body[at + 1 : at + max(count, 1)])
    at += max(count, 1)
    if not 1 <= count <= frequencies.TABLES or len(lowest) != count - 1 or not _decrease(lowest):
        raise VerificationError(f"a block's {count} tables are not for decreasing contexts; fetch it again")
    bits = BitReader(body[at:])
    tables_TS = frequencies.read(bits, count, layout.tokens)
    at += bits.end()
    length = int.from_bytes(body[at : at + 4], "little")
    if len(body) - at - 4 < length:
        raise VerificationError("a block ends before its stream; fetch it again")
    tables_M = _tables_of(contexts_of(base_N, layout)[in_changed_N], lowest)
    tokens_M = rans.decode(body[at + 4 : at + 4 + length], tables_M, tables_TS)
    low_M = unpack_all(body[at + 4 + length :], open_bits(tokens_M, layout))
    words_N = base_N.copy()
    words_N[in_changed_N] = restore(join(tokens_M, low_M, layout), base_N[in_changed_N], layout)
    return words_N


def _in_changed(changed: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Which words are in groups that changed."""
    return np.repeat(changed, GROUP)[:count]


def _tables_of(contexts_M: NDArray[np.uint8], lowest: list[int]) -> NDArray[np.uint8]:
    """Which table each context has: the first one whose lowest context is not above it."""
    of_context = np.array([sum(context < low for low in lowest) for context in range(256)], dtype=np.uint8)
    return of_context[contexts_M]


def _decrease(lowest: list[int]) -> bool:
    return all(low > after for low, after in pairwise([*lowest, 0]))


def _write_planes(words_N: Words, layout: Layout) -> bytes:
    planes = _turned(words_N, layout, 1).view(np.uint8).reshape(-1, layout.width)
    return b"".join(write_section(np.ascontiguousarray(planes[:, byte])) for byte in reversed(range(layout.width)))


def _read_planes(body: bytes, count: int, layout: Layout) -> Words:
    planes = np.empty((count, layout.width), dtype=np.uint8)
    at = 0
    for byte in reversed(range(layout.width)):
        planes[:, byte], at = read_section(body, at, count)
    if at != len(body):
        raise VerificationError("a block goes on after its last plane; fetch it again")
    return _turned(planes.reshape(-1).view(layout.words), layout, 8 * layout.width - 1)


def _turned(words_N: Words, layout: Layout, left: int) -> Words:
    """Every word of a float turned left by so many bits."""
    if not layout.is_float:
        return words_N
    turned_N: Words = words_N << layout.words.type(left)
    turned_N |= words_N >> layout.words.type(8 * layout.width - left)
    return turned_N
