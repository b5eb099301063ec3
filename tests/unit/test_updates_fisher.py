"""A Fisher beside an update: one encoding, 0 where nothing is named, and everything else refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from barnraise.errors import (
    IndexOutOfRangeError,
    NonCanonicalUpdateError,
    TruncatedUpdateError,
    UnsupportedFormatError,
    UpdateError,
)
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, TensorSpec, Update, fisher, write_update
from barnraise.updates.fisher import HIGHEST, LOWEST, NO_FISHER, FisherCodes
from merge.compress import compress
from merge.compress.fisher import with_fisher
from update_samples import BASE, CODECS, SHORT_CHUNKS, SMALL, SPACES, codec_id, make_file, random_change

TOPK = CodecConfig(name="topk", k=64)
THREE = np.array([2, 0, 3])  # named in three chunks

every_codec = pytest.mark.parametrize("codec", CODECS, ids=codec_id)
every_space = pytest.mark.parametrize("space", SPACES, ids=["small", "short-chunks"])


def random_fisher(space: ParameterSpace, seed: int = 0) -> np.ndarray:
    """float32 [P], spread over many octaves as second moments are, some of it 0."""
    random = np.random.default_rng(seed)
    values = np.exp2(random.normal(-30, 5, space.size))
    return np.where(random.random(space.size) < 0.05, 0.0, values).astype(np.float32)


def make_fisher_file(space: ParameterSpace, codec: CodecConfig, fisher_P: np.ndarray) -> bytes:
    segments, _ = compress(torch.from_numpy(random_change(space)), space, codec)
    return write_update(space, BASE, codec, with_fisher(segments, fisher_P, space, codec), role="update")


def content(data: bytes, space: ParameterSpace) -> tuple:
    update = Update.parse(data, space, base_digest=None)
    segments = range(space.segment_count)
    decoded = b"".join(update.decode(index).tobytes() for index in segments)
    fishers = b"".join(update.fisher(index).tobytes() for index in segments) if update.has_fisher else None
    return update.role, update.base_digest, update.codec, decoded, fishers


def pack(exponents: list[int], octaves: list[int]) -> bytes:
    return fisher.encode(FisherCodes(np.array(exponents, dtype=np.int8), np.array(octaves, dtype=np.uint8)))


# the file -----------------------------------------------------------------------------


@every_codec
@every_space
def test_a_fisher_changes_nothing_else(codec, space):
    plain = Update.parse(make_file(space, codec, random_change(space)), space, base_digest=BASE)
    update = Update.parse(make_fisher_file(space, codec, random_fisher(space)), space, base_digest=BASE)
    assert (plain.has_fisher, update.has_fisher) == (False, True)
    for index in range(space.segment_count):
        assert np.array_equal(update.decode(index), plain.decode(index))
        assert replace(update.segment(index), fisher=None) == plain.segment(index)
    update.validate()


@every_codec
@every_space
def test_what_an_update_does_not_name_has_no_fisher(codec, space):
    update = Update.parse(make_fisher_file(space, codec, random_fisher(space)), space, base_digest=BASE)
    for index in range(space.segment_count):
        positions_N, _ = update.sparse(index)
        fisher_P = update.fisher(index)
        assert fisher_P.dtype == np.float32
        assert np.isfinite(fisher_P).all()
        assert (fisher_P >= 0).all()
        assert set(np.flatnonzero(fisher_P)) <= set(positions_N)


def test_a_file_without_fisher_has_no_trace_of_one():
    data = make_file(SMALL, TOPK, random_change(SMALL))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header) == {"__metadata__", "offsets", "levels", "scales", "support"}
    assert "fisher" not in header["__metadata__"]


def test_the_safetensors_library_reads_a_file_with_fisher():
    arrays = load(make_fisher_file(SMALL, TOPK, random_fisher(SMALL)))
    assert set(arrays) == {"offsets", "levels", "scales", "support", "fisher"}
    assert arrays["offsets"].shape == (4, SMALL.segment_count + 1)


def test_a_fisher_costs_four_bits_an_element_and_a_byte_a_chunk():
    wide = ParameterSpace.of([TensorSpec("w", (64, 4096))])
    without = len(make_file(wide, TOPK, random_change(wide)))
    fisher_P = np.maximum(random_fisher(wide), np.float32(2.0**-40))
    entries = 64 * 64
    header = 256  # the fourth array's name and offsets
    assert entries // 2 + 64 <= len(make_fisher_file(wide, TOPK, fisher_P)) - without <= entries // 2 + 64 + header


@every_codec
@every_space
def test_no_other_byte_anywhere_gives_the_same_content(codec, space):
    data = make_fisher_file(space, codec, random_fisher(space))
    before = content(data, space)
    for place in range(0, len(data), 1 + len(data) // 1500):
        mutated = bytearray(data)
        mutated[place] ^= 1 << (place % 8)
        try:
            after = content(bytes(mutated), space)
        except UpdateError:
            continue
        assert after != before, place


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_damage_is_refused_or_decodes_to_finite_values(data):
    file = bytearray(make_fisher_file(SHORT_CHUNKS, TOPK, random_fisher(SHORT_CHUNKS)))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = file[: data.draw(st.integers(len(file) // 2, len(file)))] if data.draw(st.booleans()) else file
    try:
        fishers = content(bytes(file), SHORT_CHUNKS)[-1]
    except UpdateError:
        return
    values = np.frombuffer(fishers, dtype=np.float32)
    assert np.isfinite(values).all()
    assert (values >= 0).all()


def _header_edited(edit) -> bytes:
    data = make_fisher_file(SMALL, TOPK, random_fisher(SMALL))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    edit(header)
    raw = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data[end:]


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda header: header["__metadata__"].update(role="patch"), UnsupportedFormatError),
        (lambda header: header["__metadata__"].update(fisher="8"), NonCanonicalUpdateError),
        (lambda header: header["__metadata__"].pop("fisher"), UnsupportedFormatError),
        (lambda header: header.pop("fisher"), UnsupportedFormatError),
        (lambda header: header["offsets"].update(shape=[3, 2]), NonCanonicalUpdateError),
        (lambda header: header.update(fisher=[]), UnsupportedFormatError),
    ],
)
def test_a_header_that_is_at_odds_about_the_fisher_is_refused(edit, error):
    with pytest.raises(error):
        Update.parse(_header_edited(edit), SMALL, base_digest=BASE)


# one segment --------------------------------------------------------------------------


def test_values_are_what_the_format_says():
    packed = pack([-3, NO_FISHER, 2], [0, 15, 4, 0, 1])
    assert len(packed) == 3 + 3
    assert fisher.decode(packed, THREE).tolist() == [2.0**-3, 2.0**-18, 0.25, 4.0, 2.0]
    assert fisher.decode(pack([NO_FISHER, NO_FISHER, 0], [0, 0, 0]), THREE).tolist() == [0, 0, 1, 1, 1]
    assert fisher.decode(b"", THREE).tolist() == [0] * 5


def test_the_whole_range_is_normal():
    ends = fisher.decode(pack([HIGHEST, LOWEST], [0, 0, 15]), np.array([1, 2]))
    assert ends.tolist() == [2.0**63, 2.0**-111, 2.0**-126]


@pytest.mark.parametrize(
    ("packed", "error", "message"),
    [
        (b"\x00\x80", TruncatedUpdateError, "its chunks alone need 3"),
        (b"\x00\x80\x00\x00\x00", TruncatedUpdateError, "2 bytes of packed bits, expected 3"),
        (b"\x00\x80\x00\x00\x00\x00\x00", NonCanonicalUpdateError, "4 bytes of packed bits, expected 3"),
        (b"\x00\x80\x00\x00\x00\xf0", NonCanonicalUpdateError, "left-over bits"),
        (b"\x80\x80\x80", NonCanonicalUpdateError, "must be written as empty"),
        (b"\x00\x00\x00\x00\x00\x00", NonCanonicalUpdateError, "nothing is named has a Fisher"),
        (b"\x00\x80\x00\x11\x00\x00", NonCanonicalUpdateError, "no element of Fisher code 0"),
        (b"\x00\x80\x00\x00\x11\x01", NonCanonicalUpdateError, "no element of Fisher code 0"),
        (b"\x00\x80\x90\x00\x00\x00", IndexOutOfRangeError, r"from 2\*\*-112 to 2\*\*0"),
        (b"\x00\x80\x40\x00\x00\x00", IndexOutOfRangeError, r"to 2\*\*64, expected are 2\*\*-111 to 2\*\*63"),
    ],
)
def test_anything_else_is_refused(packed, error, message):
    with pytest.raises(error, match=message):
        fisher.decode(packed, THREE)


@settings(deadline=None, max_examples=300)
@given(packed=st.binary(max_size=12), counts=st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_any_bytes_that_decode_are_the_one_encoding(packed, counts):
    counts_C = np.array(counts)
    try:
        values_N = fisher.decode(packed, counts_C)
    except UpdateError:
        return
    assert np.isfinite(values_N).all()
    exponents_N = np.where(values_N > 0, np.frexp(values_N)[1] - 1, NO_FISHER)
    chunk_N = np.repeat(np.arange(len(counts)), counts_C)
    largest = [int(exponents_N[chunk_N == c].max(initial=NO_FISHER)) for c in range(len(counts))]
    octaves = [largest[c] - e for c, e in zip(chunk_N, exponents_N, strict=True) if largest[c] != NO_FISHER]
    assert pack(largest, octaves) == packed
