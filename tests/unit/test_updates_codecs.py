"""Laws of all codecs, and what each refuses."""

import contextlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.errors import (
    IndexOutOfRangeError,
    NonCanonicalUpdateError,
    NonFiniteUpdateError,
    TruncatedUpdateError,
    UpdateError,
)
from barnraise.update_config import CodecConfig
from barnraise.updates import (
    EncodedSegment,
    ParameterSpace,
    TensorSpec,
    Update,
    add_all_scaled,
    canonical_codec,
    decode_segment,
    write_update,
)
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.support import Support, write_plain
from laws import examples
from sanitized import fuzz
from update_samples import BASE, CODECS, SHORT_CHUNKS, SMALL, SPACES, codec_id, content, make_file, random_change

STARTS = np.array([0, 4096, 4100], dtype=np.int64)
ONE_CHUNK = np.array([0, 4], dtype=np.int64)
TOPK = CodecConfig(name="topk", k=64)
DENSE = CodecConfig(name="dense")
TWO_BITS = CodecConfig(name="blockwise", bits=2)
ONE_BIT = CodecConfig(name="blockwise", bits=1)

every_codec = pytest.mark.parametrize("codec", CODECS, ids=codec_id)


@every_codec
@pytest.mark.parametrize("space", SPACES, ids=["small", "short-chunks"])
def test_no_other_byte_anywhere_gives_the_same_content(codec, space):
    data = make_file(space, codec, random_change(space))
    before = content(data, space)
    for place in range(0, len(data), 1 + len(data) // 1500):
        mutated = bytearray(data)
        mutated[place] ^= 1 << (place % 8)
        try:
            after = content(bytes(mutated), space)
        except UpdateError:
            continue
        assert after != before, place


@every_codec
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_no_other_byte_gives_the_same_content_of_odd_changes(codec, data):
    values = st.sampled_from([0.0, 1.0, -1.0, 3.0, 9.0, 1e-30, 1e-38, 3e38])
    change = np.zeros(SHORT_CHUNKS.size, dtype=np.float32)
    change[:8] = data.draw(st.lists(values, min_size=8, max_size=8))
    file = make_file(SHORT_CHUNKS, codec, change)
    mutated = bytearray(file)
    mutated[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        after = content(bytes(mutated), SHORT_CHUNKS)
    except UpdateError:
        return
    assert after != content(file, SHORT_CHUNKS)


@every_codec
@settings(deadline=None, max_examples=30)
@given(support=st.binary(max_size=40), levels=st.binary(max_size=40), scales=st.binary(max_size=12))
def test_any_bytes_decode_to_finite_values_or_are_refused(codec, support, levels, scales):
    try:
        change = decode_segment(EncodedSegment(support, levels, scales), STARTS, codec)
    except UpdateError:
        return
    assert change.shape == (4100,)
    assert np.isfinite(change).all()


def test_a_short_chunk_keeps_its_share_rounded_up():
    assert kept_per_chunk(np.array([0, 4096, 4097, 4200, 6248]), 64).tolist() == [64, 1, 2, 32]


def test_settings_that_a_codec_ignores_do_not_tell_two_codecs_apart():
    assert canonical_codec(CodecConfig(name="topk", k=9, bits=8)) == canonical_codec(CodecConfig(name="topk", k=9))
    assert canonical_codec(CodecConfig(name="blockwise", k=9, bits=4)) == CodecConfig(name="blockwise", bits=4)
    assert canonical_codec(CodecConfig(name="dense", k=9, bits=4)) == DENSE


# topk ---------------------------------------------------------------------------------


def topk_segment(counts=(1, 1), places=(1, 0), eighths=(-80, -88), high=None, **arrays: bytes) -> EncodedSegment:
    """A segment over ``STARTS``, valid unless told otherwise."""
    support = Support(
        np.array(counts, dtype=np.uint32),
        np.array(eighths, dtype=np.int32),
        np.array(places, dtype=np.uint32),
        None if high is None else np.array(high, dtype=np.uint8),
    )
    scales = struct.pack("<hB", eighths[0], 0 if high is None else 4)
    given = {"support": write_plain(support, STARTS, 64), "levels": b"\0", "scales": scales}
    return EncodedSegment(**(given | arrays))


VALID = topk_segment(counts=(2, 1), places=(1, 2, 0), high=(0, 1, 0), levels=b"\x02")
ONE_TENSOR = ParameterSpace.of([TensorSpec("w", (int(STARTS[-1]),))])
FINE = write_update(ONE_TENSOR, BASE, TOPK, [VALID], role="update")


def test_topk_values_are_what_the_format_says():
    change = decode_segment(VALID, STARTS, TOPK)
    assert np.flatnonzero(change).tolist() == [1, 2, 4096]
    assert change[1] == 2.0**-10
    assert change[2] == -(2.0**-10) * float(np.float32(2 ** (7 / 16)))
    assert change[4096] == 2.0**-11


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("segment", "error", "message"),
    [
        (replace(VALID, levels=b""), TruncatedUpdateError, "0 bytes of levels, expected 1"),
        (replace(VALID, levels=VALID.levels + b"\0"), NonCanonicalUpdateError, "2 bytes of levels"),
        (replace(VALID, levels=b"\x0a"), NonCanonicalUpdateError, "left-over bits"),
        (replace(VALID, scales=VALID.scales[:-1]), TruncatedUpdateError, "bytes of scales"),
        (replace(VALID, scales=VALID.scales + b"\0"), NonCanonicalUpdateError, "bytes of scales"),
        (replace(VALID, support=b""), NonCanonicalUpdateError, "bytes of levels, expected 0"),
        (replace(VALID, support=VALID.support[:31]), TruncatedUpdateError, "support"),
        (replace(VALID, support=VALID.support + b"\0"), NonCanonicalUpdateError, "support"),
        (replace(VALID, support=VALID.support + bytes(4)), NonCanonicalUpdateError, "support"),
        (topk_segment(counts=(0, 0), places=()), NonCanonicalUpdateError, "must be empty"),
        (topk_segment(high=(0, 1)), NonCanonicalUpdateError, "high entries only"),
        (topk_segment(high=(0, 0)), NonCanonicalUpdateError, "the step is 4, expected 0"),
        (topk_segment(eighths=(-1009, -1000)), IndexOutOfRangeError, "Compress"),
        (topk_segment(eighths=(-1000, -1009)), IndexOutOfRangeError, "Compress"),
        (topk_segment(eighths=(1024, 1000)), IndexOutOfRangeError, "Compress"),
        (
            topk_segment(counts=(2, 1), places=(1, 2, 0), eighths=(1023, 1000), high=(0, 1, 0)),
            IndexOutOfRangeError,
            "beyond the range",
        ),
    ],
)
def test_topk_refuses(segment, error, message, compiled):
    file = write_update(ONE_TENSOR, BASE, TOPK, [segment], role="update")
    updates = [Update.parse(data, ONE_TENSOR, base_digest=BASE) for data in (FINE, file)]
    with contextlib.nullcontext() if compiled else native.disabled():
        with pytest.raises(error, match=message):
            decode_segment(segment, STARTS, TOPK)
        with pytest.raises(error, match=message):
            add_all_scaled(updates, [1.0, 1.0], np.zeros(ONE_TENSOR.size, dtype=np.float32))


# blockwise ----------------------------------------------------------------------------


def two_bits(levels: int, scale: float) -> EncodedSegment:
    return EncodedSegment(b"", bytes([levels]), struct.pack("<f", scale))


def test_blockwise_levels_are_odd_multiples_of_the_scale():
    decoded = decode_segment(two_bits(0b11_10_01_00, 0.5), ONE_CHUNK, TWO_BITS)
    assert decoded.tolist() == [-1.5, -0.5, 0.5, 1.5]


@pytest.mark.parametrize("compiled", [True, False])
def test_one_bit_is_a_sign(compiled):
    segment = EncodedSegment(b"", bytes([0b1010]), struct.pack("<f", 0.5))
    nothing = EncodedSegment(b"", bytes([0b0111]), bytes(4))
    with contextlib.nullcontext() if compiled else native.disabled():
        assert decode_segment(segment, ONE_CHUNK, ONE_BIT).tolist() == [-0.5, 0.5, -0.5, 0.5]
        assert decode_segment(replace(nothing, levels=b"\x0f"), ONE_CHUNK, ONE_BIT).tobytes() == bytes(16)
        with pytest.raises(NonCanonicalUpdateError, match="scale 0 has levels other than 1"):
            decode_segment(nothing, ONE_CHUNK, ONE_BIT)


def test_a_chunk_of_scale_zero_is_plus_zero():
    decoded = decode_segment(two_bits(0b10_10_10_10, 0.0), ONE_CHUNK, TWO_BITS)
    assert decoded.tobytes() == bytes(16)


@pytest.mark.parametrize(
    ("segment", "error", "message"),
    [
        (two_bits(0b11_00_11_00, 0.5), NonCanonicalUpdateError, "common divisor"),
        (two_bits(0b11_10_01_00, 0.0), NonCanonicalUpdateError, "scale 0 has levels other than 1"),
        (two_bits(0b10_10_10_10, -0.0), NonCanonicalUpdateError, "negative"),
        (two_bits(0b11_10_01_00, -1.0), NonCanonicalUpdateError, "negative"),
        (two_bits(0b11_10_01_00, 1e-40), IndexOutOfRangeError, "subnormal"),
        (two_bits(0b11_10_01_00, 1 + 2**-23), NonCanonicalUpdateError, "16 significant bits"),
        (two_bits(0b11_10_01_00, float("nan")), NonFiniteUpdateError, "NaN"),
        (two_bits(0b11_10_01_00, float("inf")), NonFiniteUpdateError, "infinite"),
        (two_bits(0b11_10_01_00, 2.0**127), NonFiniteUpdateError, "beyond float32"),
        (EncodedSegment(b"\0", b"\0", bytes(4)), NonCanonicalUpdateError, "bytes of support, expected 0"),
        (EncodedSegment(b"", b"", bytes(4)), TruncatedUpdateError, "0 bytes of levels"),
        (EncodedSegment(b"", b"\0", bytes(3)), TruncatedUpdateError, "3 bytes of scales"),
    ],
)
def test_blockwise_refuses(segment, error, message):
    with pytest.raises(error, match=message):
        decode_segment(segment, ONE_CHUNK, TWO_BITS)


def test_the_loops_under_sanitizers_survive_damage(tmp_path: Path) -> None:
    """Chunks of every size, then bytes and scales that mean nothing, in buffers that are exactly long enough."""
    fuzz("blockwise", ["blockwise"], examples(200), tmp_path)


# dense --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dense_refuses_what_is_not_finite(bad):
    values = np.array([0, 1, bad, 2], dtype="<f4")
    with pytest.raises(NonFiniteUpdateError, match="1 of 4 elements"):
        decode_segment(EncodedSegment(b"", values.tobytes(), b""), ONE_CHUNK, DENSE)


def test_dense_refuses_another_size():
    with pytest.raises(TruncatedUpdateError):
        decode_segment(EncodedSegment(b"", bytes(12), b""), ONE_CHUNK, DENSE)
    with pytest.raises(NonCanonicalUpdateError):
        decode_segment(EncodedSegment(b"", bytes(20), b""), ONE_CHUNK, DENSE)
    with pytest.raises(NonCanonicalUpdateError):
        decode_segment(EncodedSegment(b"", bytes(16), bytes(4)), ONE_CHUNK, DENSE)


def test_a_file_is_the_size_of_its_content():
    assert len(make_file(SMALL, DENSE, random_change(SMALL))) < 4 * SMALL.size + 1024
    assert len(make_file(SMALL, TWO_BITS, random_change(SMALL))) < SMALL.size // 4 + 1024
