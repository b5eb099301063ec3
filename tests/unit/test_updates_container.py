"""The update file: readable by safetensors, one encoding, and everything else refused with a reason."""

import gzip
import json
import mmap
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from barnraise.digest import digest_bytes
from barnraise.errors import (
    NonCanonicalUpdateError,
    OversizedUpdateError,
    TruncatedUpdateError,
    UnsupportedFormatError,
    UpdateError,
    WrongBaseError,
)
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, TensorSpec, Update, canonical_codec, write_update
from barnraise.updates.header import HEADER_MAX
from update_samples import BASE, CODECS, SMALL, SPACES, codec_id, make_file, random_change

TOPK = CodecConfig(name="topk", k=64)
GOOD = make_file(SMALL, TOPK, random_change(SMALL))


def parse(data: bytes | memoryview, *, base_digest: str | None = BASE, max_bytes: int | None = None) -> Update:
    return Update.parse(data, SMALL, base_digest=base_digest, max_bytes=max_bytes)


def header_of(data: bytes) -> dict:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_header(text: str | bytes, data: bytes = GOOD) -> bytes:
    """``data`` with another header, padded as it should be."""
    raw = text.encode() if isinstance(text, str) else text
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data[8 + int.from_bytes(data[:8], "little") :]


def changed(edit) -> bytes:
    """The good file with its decoded header edited and written canonically."""
    header = header_of(GOOD)
    edit(header)
    return with_header(json.dumps(header, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize("codec", CODECS, ids=codec_id)
@pytest.mark.parametrize("space", SPACES, ids=["small", "short-chunks"])
def test_the_safetensors_library_reads_it(codec, space):
    data = make_file(space, codec, random_change(space))
    arrays = load(data)
    assert set(arrays) == {"offsets", "levels", "scales", "support"}
    assert arrays["offsets"].shape == (3, space.segment_count + 1)
    assert arrays["offsets"][:, -1].tolist() == [len(arrays[name]) for name in ("levels", "scales", "support")]


@pytest.mark.parametrize("codec", CODECS, ids=codec_id)
@pytest.mark.parametrize("space", SPACES, ids=["small", "short-chunks"])
def test_what_was_written_comes_back(codec, space):
    data = make_file(space, codec, random_change(space))
    update = Update.parse(data, space, base_digest=BASE, max_bytes=len(data))
    update.validate()
    assert (update.role, update.base_digest, update.codec) == ("update", BASE, canonical_codec(codec))
    assert update.digest == digest_bytes(data)
    assert update.size_bytes == len(data)
    segments = [update.segment(index) for index in range(space.segment_count)]
    assert write_update(space, BASE, codec, segments, role="update") == data


def test_sparse_and_dense_reading_agree():
    for codec in CODECS:
        update = parse(make_file(SMALL, codec, random_change(SMALL)))
        positions, values = update.sparse(0)
        change = np.zeros(SMALL.size, dtype=np.float32)
        change[positions] = values
        assert change.tobytes() == update.decode(0).tobytes()


def test_it_reads_from_a_memory_map(tmp_path):
    path = tmp_path / "update.safetensors"
    path.write_bytes(GOOD)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    update = Update.parse(mapped, SMALL, base_digest=BASE)
    assert update.decode(0).tobytes() == parse(GOOD).decode(0).tobytes()


def test_a_model_without_elements_has_an_update():
    empty = ParameterSpace.of([TensorSpec("nothing", (0, 3))])
    data = write_update(empty, BASE, TOPK, [], role="patch")
    Update.parse(data, empty, base_digest=BASE).validate()


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1))
def test_every_truncation_is_refused(length):
    with pytest.raises(TruncatedUpdateError):
        parse(GOOD[:length])


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(UpdateError):
        parse(data)


@settings(deadline=None, max_examples=80)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_json_in_place_of_the_header_is_refused(value):
    with pytest.raises(UpdateError):
        parse(with_header(json.dumps(value)))


ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=3)


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["format", "role", "base", "space", "codec", "bits", "k"]) | st.sampled_from(["dtype", "shape"]),
    ANY,
)
def test_any_value_in_place_of_a_header_field_is_refused(key, value):
    def edit(header):
        header["offsets" if key in ("dtype", "shape") else "__metadata__"][key] = value

    with pytest.raises(UpdateError):
        parse(changed(edit))


def test_trailing_bytes_are_refused():
    with pytest.raises(OversizedUpdateError, match="Nothing may follow the arrays"):
        parse(GOOD + b"\0")


def test_a_file_above_the_limit_is_refused_first():
    with pytest.raises(OversizedUpdateError, match=f"{len(GOOD)} bytes, at most 100 are accepted"):
        parse(GOOD, max_bytes=100)


def test_a_header_bomb_is_refused_before_it_is_parsed():
    tensors = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(30_000)}
    bomb = with_header(json.dumps(tensors))
    assert int.from_bytes(bomb[:8], "little") > HEADER_MAX
    tracemalloc.start()
    try:
        with pytest.raises(OversizedUpdateError, match=f"at most {HEADER_MAX} are read"):
            parse(bomb)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [1 << 20, (1 << 64) - 1])
def test_a_header_longer_than_the_file_is_refused(length):
    with pytest.raises((TruncatedUpdateError, OversizedUpdateError)):
        parse(length.to_bytes(8, "little") + GOOD[8:])


@pytest.mark.parametrize("header", ["[" * 500_000, '{"a":' * 100_000, "1" * 100_000, "\x00", b"\xff\xfe", "{", ""])
def test_a_header_that_is_no_json_is_refused(header):
    with pytest.raises(UnsupportedFormatError):
        parse(with_header(header))


def test_arrays_of_impossible_size_are_refused_without_allocating():
    def edit(header):
        header["levels"].update(shape=[1 << 47], data_offsets=[0, 1 << 47])

    with pytest.raises(UpdateError):
        parse(changed(edit))


@pytest.mark.parametrize(
    ("frame", "name"),
    [(zstandard.compress(GOOD), "zstd"), (gzip.compress(GOOD), "gzip"), (b"PK\x03\x04" + bytes(60), "zip")],
)
def test_a_compressed_file_is_refused_by_name(frame, name):
    with pytest.raises(UnsupportedFormatError, match=f"a {name} file"):
        parse(frame)


def test_another_base_is_refused():
    with pytest.raises(WrongBaseError, match="Pull that base"):
        parse(GOOD, base_digest=digest_bytes(b"another"))
    assert parse(GOOD, base_digest=None).base_digest == BASE


def test_another_layout_is_refused():
    other = ParameterSpace.of([TensorSpec("w", (60, 70)), TensorSpec("b", (5,)), TensorSpec("scalar", ())])
    with pytest.raises(WrongBaseError, match="layout"):
        Update.parse(GOOD, other, base_digest=BASE)


def test_an_unknown_metadata_key_is_refused():
    with pytest.raises(UnsupportedFormatError, match="metadata must name exactly"):
        parse(changed(lambda header: header["__metadata__"].update(comment="hello")))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/levels", "levels\x00", "levels\n", "c:\\levels"])
def test_an_array_with_a_hostile_name_is_refused_and_not_echoed(name):
    with pytest.raises(UnsupportedFormatError) as caught:
        parse(changed(lambda header: header.update({name: header.pop("levels")})))
    assert name not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "barnraise-update-1"),
        ("role", "keyframe"),
        ("base", "b3:../../x"),
        ("codec", "zip"),
        ("k", "0"),
        ("k", "4096"),
        ("k", "9" * 5000),
        ("bits", "x"),
    ],
)
def test_metadata_that_this_version_does_not_know_is_refused(key, value):
    with pytest.raises(UnsupportedFormatError) as caught:
        parse(changed(lambda header: header["__metadata__"].update({key: value})))
    assert value not in str(caught.value)


def _spaced(header: dict) -> str:
    return json.dumps(header, sort_keys=True)


def _unsorted(header: dict) -> str:
    return json.dumps(dict(reversed(header.items())), separators=(",", ":"))


def _twice(header: dict) -> str:
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    return text.replace('"k":"64"', '"k":"65","k":"64"')


def _leading_zero(header: dict) -> str:
    header["__metadata__"]["k"] = "064"
    return json.dumps(header, sort_keys=True, separators=(",", ":"))


def _dtype(header: dict) -> str:
    header["levels"]["dtype"] = "I8"
    return json.dumps(header, sort_keys=True, separators=(",", ":"))


def _extra_key(header: dict) -> str:
    header["levels"]["extra"] = 1
    return json.dumps(header, sort_keys=True, separators=(",", ":"))


def _swapped_arrays(header: dict) -> str:
    levels, scales = header["levels"], header["scales"]
    start, end = levels["data_offsets"][0], scales["data_offsets"][1]
    scales["data_offsets"] = [start, start + scales["shape"][0]]
    levels["data_offsets"] = [start + scales["shape"][0], end]
    return json.dumps(header, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("write", [_spaced, _unsorted, _twice, _leading_zero, _dtype, _extra_key, _swapped_arrays])
def test_a_header_in_another_encoding_is_refused(write):
    with pytest.raises(NonCanonicalUpdateError, match="one encoding"):
        parse(with_header(write(header_of(GOOD))))


def test_padding_is_part_of_the_encoding():
    raw = GOOD[8 : 8 + int.from_bytes(GOOD[:8], "little")]
    with pytest.raises(NonCanonicalUpdateError, match="one encoding"):
        parse(with_header(raw + b" " * 8))


@pytest.mark.parametrize(
    "table",
    [
        [[1, 10], [0, 20], [0, 30]],
        [[0, 10], [0, 21], [0, 30]],
        [[0, 10], [0, 20], [0, -30]],
        [[0, 1 << 62], [0, 20], [0, 30]],
    ],
)
def test_offsets_that_do_not_fit_the_arrays_are_refused(table):
    sizes = [header_of(GOOD)[name]["shape"][0] for name in ("levels", "scales", "support")]
    replaced = {10: sizes[0], 20: sizes[1], 30: sizes[2]}
    offsets = np.array([[replaced.get(value, value) for value in row] for row in table], dtype="<i8")
    begin = 8 + int.from_bytes(GOOD[:8], "little")
    with pytest.raises(NonCanonicalUpdateError, match="offsets"):
        parse(GOOD[:begin] + offsets.tobytes() + GOOD[begin + offsets.nbytes :])


def test_offsets_lie_as_the_loops_read_them_wherever_the_file_does():
    for before in range(8):
        update = parse(memoryview(bytes(before) + GOOD)[before:])
        assert update.packed().offsets_3S.flags.aligned
        assert update.segment(0).support == parse(GOOD).segment(0).support


def test_offsets_that_go_back_are_refused():
    space = SPACES[1]
    data = make_file(space, TOPK, random_change(space))
    begin = 8 + int.from_bytes(data[:8], "little")
    offsets = np.frombuffer(data, "<i8", 9, begin).reshape(3, 3).copy()
    offsets[0, 1] = offsets[0, 2] + 1
    with pytest.raises(NonCanonicalUpdateError, match="offsets"):
        Update.parse(data[:begin] + offsets.tobytes() + data[begin + 72 :], space, base_digest=BASE)
