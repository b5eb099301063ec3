"""Coding of positions: round trip, one encoding, close to the entropy, bounded."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import IndexOutOfRangeError, NonCanonicalUpdateError, TruncatedUpdateError, UpdateError
from barnraise.updates.golomb import decode_positions, encode_positions

SIZE = 1 << 20


def positions_of(*values: int) -> np.ndarray:
    return np.array(sorted(values), dtype=np.int64)


@settings(deadline=None)
@given(st.sets(st.integers(0, SIZE - 1), max_size=200) | st.sets(st.integers(0, 300)))
def test_positions_come_back(chosen):
    positions = positions_of(*chosen)
    assert decode_positions(encode_positions(positions), SIZE, len(chosen)).tolist() == positions.tolist()


@pytest.mark.parametrize("values", [(0,), (SIZE - 1,), (0, SIZE - 1), tuple(range(64)), tuple(range(0, 4096, 63))])
def test_extreme_positions_come_back(values):
    assert decode_positions(encode_positions(positions_of(*values)), SIZE, SIZE).tolist() == list(values)


def test_no_positions_are_no_bytes():
    assert encode_positions(positions_of()) == b""
    assert decode_positions(b"", SIZE, 0).tolist() == []


@pytest.mark.parametrize(("kept", "excess"), [(16, 0.005), (64, 0.006), (256, 0.014), (1024, 0.014)])
def test_random_positions_cost_little_more_than_their_entropy(kept, excess):
    rng = np.random.default_rng(kept)
    rows = [4096 * chunk + np.sort(rng.choice(4096, kept, replace=False)) for chunk in range(256)]
    density = kept / 4096
    entropy = -(density * math.log2(density) + (1 - density) * math.log2(1 - density))
    bits = 8 * len(encode_positions(np.concatenate(rows))) / SIZE
    assert bits < (1 + excess) * entropy


@settings(deadline=None, max_examples=150)
@given(st.sets(st.integers(0, 5000), min_size=1, max_size=40), st.data())
def test_no_other_bytes_give_the_same_positions(chosen, data):
    support = bytearray(encode_positions(positions_of(*chosen)))
    place = data.draw(st.integers(0, len(support) - 1))
    support[place] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_positions(bytes(support), SIZE, SIZE)
    except UpdateError:
        return
    assert decoded.tolist() != sorted(chosen)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_are_the_encoding_of_what_they_give(support):
    try:
        decoded = decode_positions(support, 10_000, 500)
    except UpdateError:
        return
    assert encode_positions(decoded) == support


def test_more_entries_than_allowed_are_refused_before_anything_is_read():
    with pytest.raises(IndexOutOfRangeError, match=r"4294967295 entries, expected 1 to 16384"):
        decode_positions(struct.pack("<IB", 0xFFFFFFFF, 0), SIZE, 16384)


def test_a_quotient_plane_longer_than_the_segment_is_refused_before_it_is_unpacked():
    with pytest.raises(IndexOutOfRangeError, match="reach beyond a segment"):
        decode_positions(struct.pack("<IB", 1, 0) + b"\0" * 1000, 4096, 64)


def test_a_position_beyond_the_segment_is_refused():
    with pytest.raises(IndexOutOfRangeError, match="position 4096 in a segment of 4096"):
        decode_positions(encode_positions(positions_of(3, 4096)), 4096, 64)


@pytest.mark.parametrize("cut", [1, 4])
def test_a_cut_support_is_refused(cut):
    support = encode_positions(positions_of(*range(0, 4096, 64)))
    with pytest.raises((TruncatedUpdateError, NonCanonicalUpdateError)):
        decode_positions(support[:-cut], SIZE, 64)


def test_another_gap_parameter_is_refused():
    with pytest.raises(NonCanonicalUpdateError, match="gap parameter 0 is not the shortest"):
        decode_positions(struct.pack("<IB", 1, 0) + bytes(12) + b"\x10", SIZE, 1)  # 100 as unary
    with pytest.raises(NonCanonicalUpdateError, match="gap parameter 200"):
        decode_positions(struct.pack("<IB", 1, 200) + b"\x01", SIZE, 1)
