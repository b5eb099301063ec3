"""Tensors without loss: every bit comes back, both implementations say the same, and damage is refused."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.digest import digest_bytes
from barnraise.errors import VerificationError
from barnraise.native import lossless as loops
from barnraise.releases.lossless import coding, decode, decode_into, decoded, encode, encoded, frequencies, rans
from barnraise.releases.lossless.bits import pack
from barnraise.releases.lossless.blocks import BLOCK, CHANGE, PLANES, RAW, SAME
from barnraise.releases.lossless.coding import Bytes, Decode
from barnraise.releases.lossless.layouts import Layout, layout_of
from barnraise.releases.lossless.planes import CONSTANT, write_head
from barnraise.releases.lossless.rooms import room
from laws import examples
from sanitized import fuzz

DTYPES = (
    "BF16",
    "F16",
    "F32",
    "F64",
    "C64",
    "F8_E4M3",
    "F8_E5M2",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "BOOL",
    "unheard-of",
)
HEADER = 16
compiled_too = pytest.mark.skipif(not loops.available(), reason="no compiled loops here")


def bf16(values: np.ndarray) -> np.ndarray:
    """float32 cut to bfloat16, as words."""
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2")


def fine_tune(count: int, seed: int, dtype: str = "BF16", rate: float = 1e-3) -> tuple[bytes, bytes]:
    """A tensor of normal values and what a little training made of it; some rows were never touched."""
    draws = np.random.default_rng(seed)
    base = draws.normal(0, 0.05, count).astype("<f4")
    tuned = base + draws.normal(0, rate, count).astype("<f4") * (np.arange(count) // 384 % 3 > 0)
    if dtype == "BF16":
        return bf16(tuned).tobytes(), bf16(base).tobytes()
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]
    return tuned.astype(kind).tobytes(), base.astype(kind).tobytes()


def some_bytes(size: int, seed: int, how: str) -> tuple[bytes, bytes]:
    """A tensor and a base that have something to do with each other, or not."""
    draws = np.random.default_rng(seed)
    base = draws.integers(0, 256, size, dtype=np.uint8)
    if how == "noise":
        return draws.bytes(size), base.tobytes()
    if how == "same":
        return base.tobytes(), base.tobytes()
    if how == "small":  # every byte moves a little, so every word moves anyhow
        return (base + draws.integers(0, 3, size, dtype=np.uint8)).tobytes(), base.tobytes()
    if how == "few":
        return (base ^ (draws.random(size) < 0.01).astype(np.uint8)).tobytes(), base.tobytes()
    few = draws.integers(0, 256, 3, dtype=np.uint8)  # tensor and base of three different bytes
    return draws.choice(few, size).tobytes(), draws.choice(few, size).tobytes()


cases = st.tuples(
    st.sampled_from(DTYPES),
    st.integers(0, 1500),
    st.integers(0, 1 << 32),
    st.sampled_from(("noise", "same", "small", "few", "three")),
)


@dataclass(frozen=True)
class Held:
    """Compressed bytes in memory, read as a file is."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, memory: memoryview, at: int) -> None:
        found = self.data[at : at + len(memory)]
        if len(found) < len(memory):
            raise VerificationError(f"ends after {len(self.data)} bytes")
        memory[:] = found


def in_pieces(written: bytes, dtype: str, size: int, base: bytes | None, blocks: int = 1) -> bytes:
    """What :func:`decode` gives, piece by piece."""
    step = blocks * BLOCK
    before = None if base is None else np.frombuffer(base, dtype=np.uint8)
    bases = None if before is None else (before[at : at + step] for at in range(0, size, step))
    return b"".join(piece.tobytes() for piece in decoded(Held(written), dtype, size, step, bases))


@given(cases, st.booleans())
@settings(deadline=None)
def test_every_bit_comes_back_whoever_wrote_it(case: tuple[str, int, int, str], alone: bool) -> None:
    dtype, count, seed, how = case
    data, base = some_bytes(count * layout_of(dtype).width, seed, how)
    against = None if alone else base
    written = encode(data, dtype, against)
    assert bytes(decode(written, dtype, len(data), against)) == data
    assert in_pieces(written, dtype, len(data), against) == data
    with native.disabled():
        assert encode(data, dtype, against) == written
        assert bytes(decode(written, dtype, len(data), against)) == data
        assert in_pieces(written, dtype, len(data), against) == data


@given(st.sampled_from(("BF16", "F16", "F32", "F64")), st.integers(1, 40_000), st.integers(0, 100), st.booleans())
@settings(deadline=None, max_examples=20)
def test_fine_tunes_come_back(dtype: str, count: int, seed: int, alone: bool) -> None:
    data, base = fine_tune(count, seed, dtype)
    against = None if alone else base
    written = encode(data, dtype, against)
    assert bytes(decode(written, dtype, len(data), against)) == data
    with native.disabled():
        assert encode(data, dtype, against) == written
        assert bytes(decode(written, dtype, len(data), against)) == data


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_what_floats_can_be_comes_back_from_every_other(dtype: str) -> None:
    """Both zeros, both infinities, denormals, the extremes, and NaNs with payloads, each against each."""
    layout = layout_of(dtype)
    top = 1 << (8 * layout.width - 1)
    infinity = ((1 << (8 * layout.width - 1 - layout.shift)) - 1) << layout.shift
    one_sign = [0, 1, (1 << layout.shift) - 1, 1 << layout.shift, infinity - 1, infinity, infinity + 1, top - 1]
    every = np.array([word | sign for sign in (0, top) for word in one_sign], dtype=layout.words)
    data, base = np.tile(every, len(every)).tobytes(), np.repeat(every, len(every)).tobytes()
    written = encode(data, dtype, base)
    assert bytes(decode(written, dtype, len(data), base)) == data
    with native.disabled():
        assert encode(data, dtype, base) == written


def test_an_unchanged_tensor_costs_a_header_and_a_word_a_block() -> None:
    data = os.urandom(3 * BLOCK + 10)
    assert len(encode(data, "U8", data)) == HEADER + 4 * 4
    assert encode(b"", "F32", b"") == encode(b"", "F32", b"")
    assert bytes(decode(encode(b"", "F32"), "F32", 0)) == b""


@given(cases, st.booleans())
@settings(deadline=None)
def test_nothing_grows_by_more_than_a_header_and_a_word_a_block(case: tuple[str, int, int, str], alone: bool) -> None:
    dtype, count, seed, how = case
    data, base = some_bytes(count * layout_of(dtype).width, seed, how)
    assert len(encode(data, dtype, None if alone else base)) <= HEADER + len(data) + 4 * -(-len(data) // BLOCK)


def test_a_fine_tune_costs_its_entropy_given_the_parents_exponent() -> None:
    count = 1 << 19
    draws = np.random.default_rng(0)
    base = draws.normal(0, 0.05, count).astype("<f4")
    tuned, before = bf16(base + draws.normal(0, 3e-4, count).astype("<f4")), bf16(base)
    change = tuned.astype(np.int64) - before  # all that matters keeps its sign
    joint = np.stack([(before >> 7) & 255, np.abs(change) * 2 + (change < 0)])
    bits = count * (entropy(joint[0] * 100_000 + joint[1]) - entropy(joint[0]))
    size = len(encode(tuned.tobytes(), "BF16", before.tobytes()))
    assert bits / 8 < size < 1.03 * bits / 8
    planes = np.stack([(tuned >> 7) & 255])
    assert len(encode(tuned.tobytes(), "BF16")) < 1.005 * count * (entropy(planes[0]) / 8 + 1)


def entropy(values: np.ndarray) -> float:
    shares = np.unique(values, return_counts=True)[1] / values.size
    return float(-(shares * np.log2(shares)).sum())


def test_a_base_that_says_nothing_does_no_harm() -> None:
    data, _ = fine_tune(100_000, 0)
    other, _ = fine_tune(100_000, 1)
    assert len(encode(data, "BF16", other)) <= len(encode(data, "BF16"))


def test_kinds_of_blocks() -> None:
    data, base = fine_tune(40_000, 3)
    noise = os.urandom(1000)
    assert encode(data, "BF16", base)[HEADER + 3] == CHANGE
    assert encode(data, "BF16")[HEADER + 3] == PLANES
    assert encode(data, "BF16", data)[HEADER + 3] == SAME
    assert encode(noise, "U8")[HEADER + 3] == RAW


def test_blocks_know_nothing_of_each_other_nor_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    data, base = fine_tune(2 * BLOCK, 5)  # four blocks
    whole = encode(data, "BF16", base)
    assert b"".join(encoded(memoryview(data), "BF16", base)) == whole
    parts = [encode(data[at : at + BLOCK], "BF16", base[at : at + BLOCK])[HEADER:] for at in range(0, len(data), BLOCK)]
    assert whole[HEADER:] == b"".join(parts)
    monkeypatch.setattr(native, "threads", lambda: 3)
    assert encode(data, "BF16", base) == whole
    assert bytes(decode(whole, "BF16", len(data), base)) == data


def test_a_block_that_is_checked_has_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    data, base = fine_tune(2 * BLOCK // 2 + 5, 3)
    assert encode(data, "BF16", base, check=True) == encode(data, "BF16", base)
    real = coding._decoder

    def forgetful(layout: Layout) -> Decode:
        def decode_one(kind: int, body: Bytes, before: Bytes | None, out: Bytes) -> None:
            real(layout)(kind, body, before, out)
            out[-1] ^= len(out) == 10  # the last block, of five words

        return decode_one

    monkeypatch.setattr(coding, "_decoder", forgetful)
    with pytest.raises(VerificationError, match="does not come back as it was"):
        encode(data, "BF16", base, check=True)


def test_decoding_into_memory_that_is_there() -> None:
    data, base = fine_tune(5000, 6)
    room = bytearray(len(data) + 8)
    decode_into(encode(data, "BF16", base), "BF16", memoryview(room)[4:-4], base)
    assert bytes(room) == bytes(4) + data + bytes(4)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_pieces_are_of_whole_blocks_in_the_same_memory(blocks: int) -> None:
    data, base = fine_tune((3 * BLOCK + 1000) // 2, 4)
    written = encode(data, "BF16", base)
    assert in_pieces(written, "BF16", len(data), base, blocks) == data
    bases = (np.frombuffer(base, np.uint8)[at : at + blocks * BLOCK] for at in range(0, len(base), blocks * BLOCK))
    pieces = list(decoded(Held(written), "BF16", len(data), blocks * BLOCK, bases))
    assert [len(piece) for piece in pieces[:-1]] == [blocks * BLOCK] * (len(pieces) - 1)
    assert all(np.shares_memory(pieces[0], piece) for piece in pieces)


def test_memory_is_kept_and_never_shared_by_two_at_a_time() -> None:
    with room(100) as first, room(100) as second:
        assert not np.shares_memory(first, second)
    with room(100) as again:
        assert np.shares_memory(again, first) or np.shares_memory(again, second)
    with ThreadPoolExecutor(1) as other, room(100) as ours:
        assert not np.shares_memory(ours, other.submit(lambda: room(100).__enter__()).result())


def test_the_format_does_not_move() -> None:
    draws = np.random.default_rng(1)
    base = draws.integers(0, 1 << 16, 70_000, dtype=np.uint16)
    data = base + draws.integers(0, 40, 70_000, dtype=np.uint16) * (draws.integers(0, 3, 70_000, dtype=np.uint16) // 2)
    together = [encode(data.tobytes(), dtype, base.tobytes()) for dtype in ("BF16", "F16", "F32", "I16", "U8")]
    together += [encode((data & 0x0FFF).tobytes(), dtype) for dtype in ("BF16", "F32", "I64")]
    assert digest_bytes(b"".join(together)) == GOLDEN


GOLDEN = "b3:fb62dd8e8682c696448bfb7ac3a90def024b895b3fcac654e2e18822f359f29b"


def outcome(
    written: bytes, dtype: str, size: int, base: bytes | None, how: Callable[..., bytes | memoryview] = decode
) -> bytes | None:
    try:
        return bytes(how(written, dtype, size, base))
    except VerificationError:
        return None


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str, int, bytes | None, bytes]:
    """What was written, and what became of it."""
    dtype = draw(st.sampled_from(("BF16", "F32", "U8", "F64")))
    count, seed = draw(st.integers(1, 3000)), draw(st.integers(0, 20))
    data, base = fine_tune(count, seed, dtype) if dtype != "U8" else some_bytes(count, seed, "three")
    against = draw(st.sampled_from([base, None]))
    written = encode(data, dtype, against)
    bad = bytearray(written)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(
            st.integers(0, len(bad) - 1)
            | st.integers(HEADER, min(len(bad) - 1, HEADER + 80) if len(bad) > HEADER else 0)
        )
        bad[at] = draw(st.integers(0, 255))
    cut = draw(st.sampled_from(["", "", "shorter", "longer"]))
    if cut == "shorter":
        del bad[draw(st.integers(0, len(bad) - 1)) :]
    elif cut == "longer":
        bad += draw(st.binary(min_size=1, max_size=40))
    return written, dtype, len(data), against, bytes(bad)


@given(damaged())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.data_too_large])
def test_damage_is_refused_or_gives_a_tensor_of_the_same_size_and_both_agree(
    case: tuple[bytes, str, int, bytes | None, bytes],
) -> None:
    written, dtype, size, base, bad = case
    assume(bad != written)
    found = outcome(bad, dtype, size, base)
    assert found is None or len(found) == size
    assert outcome(bad, dtype, size, base, in_pieces) == found
    with native.disabled():
        assert outcome(bad, dtype, size, base) == found


@pytest.mark.parametrize("plain", [False, True])
def test_every_truncation_is_refused(plain: bool) -> None:
    data, base = fine_tune(700, 8)
    with native.disabled() if plain else contextlib.nullcontext():
        for against in (None, base):
            written = encode(data, "BF16", against)
            for end in range(len(written)):
                with pytest.raises(VerificationError):
                    decode(written[:end], "BF16", len(data), against)
                with pytest.raises(VerificationError):
                    in_pieces(written[:end], "BF16", len(data), against)


def test_what_the_header_says_has_to_be_what_was_expected() -> None:
    data, base = fine_tune(500, 9)
    written = encode(data, "BF16", base)
    for dtype, size, against in (
        ("F16", len(data), base),
        ("BF16", len(data) - 2, base[:-2]),
        ("BF16", len(data), None),
    ):
        with pytest.raises(VerificationError, match="expected"):
            decode(written, dtype, size, against)
    huge = written[:8] + struct.pack("<Q", 1 << 60) + written[16:]
    with pytest.raises(VerificationError, match="expected"):
        decode(huge, "BF16", len(data), base)


def test_wrong_calls_are_told_from_bad_bytes() -> None:
    with pytest.raises(ValueError, match="base has 4 bytes"):
        encode(bytes(8), "F32", bytes(4))
    with pytest.raises(ValueError, match="whole number of F32"):
        encode(bytes(7), "F32")
    with pytest.raises(ValueError, match="base has 4 bytes"):
        decode(encode(bytes(8), "F32"), "F32", 8, bytes(4))


TABLE = np.zeros(64, dtype=np.int64)
TABLE[[0, 1, 19]] = 1024, 1000, 24
TOKENS = np.array([0] * 60 + [1, 1, 0, 19] + [1], dtype=np.uint8)  # of 65 words, in two groups


def change(
    flags: int = 3,
    lowest: tuple[int, ...] = (),
    tables: tuple[np.ndarray, ...] = (TABLE,),
    low: bytes = b"\x02",
    count: int | None = None,
) -> bytes:
    """A tensor of 65 bfloat16 in one block that changed, put together by hand; as it stands it is right."""
    stream = rans.encode(TOKENS, np.zeros(65, dtype=np.uint8), TABLE[None])
    body = write_head(CONSTANT, 1) + bytes([flags])
    body += bytes([len(tables) if count is None else count, *lowest]) + pack(frequencies.write(tables))
    body += len(stream).to_bytes(4, "little") + stream + low
    header = struct.pack("<4sBBBBQ", b"BRLT", 1, layout_of("BF16").number, 1, 0, 130)
    return header + write_head(CHANGE, len(body)) + body


def with_frequencies(*said: tuple[int, int], symbols: int = 64) -> np.ndarray:
    table = np.zeros(symbols, dtype=np.int64)
    for symbol, frequency in said:
        table[symbol] = frequency
    return table


BASE = np.full(65, 0x3F80, dtype="<u2").tobytes()  # ones: the context is 127


def test_a_block_put_together_by_hand() -> None:
    words = np.full(65, 0x3F80, dtype="<u2")
    words[[60, 61, 64]] -= 1  # token 1 is one step down
    words[63] -= (24 + 4 + 1 + 1) // 2  # token 19 and the open bits 10: folded 29, which is -15
    for plain in (False, True):
        with native.disabled() if plain else contextlib.nullcontext():
            assert bytes(decode(change(), "BF16", 130, BASE)) == words.tobytes()
            assert bytes(decode(change(lowest=(127,), tables=(TABLE, TABLE)), "BF16", 130, BASE)) == words.tobytes()


@pytest.mark.parametrize(
    "bad",
    [
        change(flags=7),  # there is no third group
        change(flags=0),
        change(flags=1),  # then there are 64 tokens
        change(count=0),
        change(lowest=tuple(range(64, 0, -1)), tables=(TABLE,) * 65),
        change(lowest=(5, 5), tables=(TABLE,) * 3),
        change(lowest=(0,), tables=(TABLE,) * 2),
        change(lowest=(128,), tables=(TABLE, with_frequencies((0, 2048)))),  # the table of other contexts
        change(tables=(with_frequencies((0, 1024), (1, 1000), (64, 24), symbols=65),)),
        change(tables=(with_frequencies((0, 1024), (1, 1024), (19, 24)),)),
        change(tables=(with_frequencies((0, 1024), (1, 1000)),)),
        change(tables=(with_frequencies((0, 2500)),)),
        change(low=b""),
        change(low=b"\x02\x00"),
        change(low=b"\x06"),  # a third bit
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_what_a_block_may_not_say(bad: bytes, plain: bool) -> None:
    with native.disabled() if plain else contextlib.nullcontext(), pytest.raises(VerificationError):
        decode(bad, "BF16", 130, BASE)


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=256).filter(any))
@settings(deadline=None)
def test_frequencies_add_up_and_forget_no_symbol(counts: list[int]) -> None:
    table = frequencies.normalise(np.array(counts, dtype=np.int64))
    assert table.sum() == frequencies.SCALE
    assert ((table > 0) == (np.array(counts) > 0)).all()


@given(st.integers(0, 1 << 32), st.integers(1, 200))
@settings(deadline=None)
def test_shared_tables_have_every_symbol_of_their_contexts(seed: int, spread: int) -> None:
    draws = np.random.default_rng(seed)
    counts_CS = draws.integers(0, spread, (256, 8)) * (draws.random((256, 1)) < 0.3)
    lowest, gathered = frequencies.gather(counts_CS)
    bounds = [256, *lowest, 0]
    assert bounds == sorted(set(bounds), reverse=True)
    parts = [counts_CS[low:high].sum(axis=0) for high, low in pairwise(bounds)]
    np.testing.assert_array_equal(gathered, parts)


@given(st.integers(0, 1 << 32), st.sampled_from([1, 3, 4, 5, 100, 40_000]), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_streams_come_back_and_end_where_they_end(seed: int, count: int, tables: int) -> None:
    draws = np.random.default_rng(seed)
    counts = draws.integers(1, 1000, (tables, 20)) ** 3
    table_TS = np.stack([frequencies.normalise(row) for row in counts])
    tables_N = draws.integers(0, tables, count).astype(np.uint8)
    symbols_N = draws.integers(0, 20, count).astype(np.uint8)
    stream = rans.encode(symbols_N, tables_N, table_TS)
    np.testing.assert_array_equal(rans.decode(stream, tables_N, table_TS), symbols_N)
    for wrong in (stream[:-2], stream + bytes(2)):
        with pytest.raises(VerificationError):
            rans.decode(wrong, tables_N, table_TS)


@compiled_too
def test_the_loops_under_sanitizers_survive_damage(tmp_path: Path) -> None:
    """Blocks of every kind, damaged many times, in buffers that are exactly as long as they are said to be."""
    fuzz("lossless", ["lossless*"], examples(60), tmp_path, fuzz_cases())


def fuzz_cases() -> bytes:
    """Blocks for tests/native/lossless_fuzz.c."""
    parts = [frequencies.logarithms().tobytes()]
    for dtype in DTYPES[:10]:
        for count in (1, 63, 700, 40_000):
            layout = layout_of(dtype)
            for how, alone in (("small", False), ("three", False), ("three", True), ("few", False), ("noise", True)):
                data, base = some_bytes(count * layout.width, count, how)
                if layout.is_float and how == "small" and dtype in {"BF16", "F16", "F32", "F64"}:
                    data, base = fine_tune(count, 1, dtype)
                written = encode(data, dtype, None if alone else base)
                head = (layout.width, layout.shift, layout.mask, layout.is_float, layout.tokens, written[HEADER + 3])
                body = written[HEADER + 4 :]
                if len(data) <= BLOCK:
                    parts.append(
                        struct.pack("<7i2q", *head, not alone, len(data), len(body)) + body + (b"" if alone else base)
                    )
    return b"".join(parts)
