"""Packed fields."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import NonCanonicalUpdateError, TruncatedUpdateError
from barnraise.updates.bits import pack_fields, packed_size, unpack_fields


@settings(deadline=None)
@given(st.integers(0, 40).flatmap(lambda w: st.tuples(st.just(w), st.lists(st.integers(0, (1 << w) - 1), max_size=20))))
def test_fields_come_back(case):
    width, values = case
    packed = pack_fields(np.array(values, dtype=np.uint64), width)
    assert len(packed) == packed_size(len(values), width)
    assert unpack_fields(packed, len(values), width, np.uint64).tolist() == values


def test_the_first_field_takes_the_lowest_bits():
    assert pack_fields(np.array([1, 2, 3], dtype=np.uint8), 2) == bytes([0b111001])


def test_left_over_bits_must_be_zero():
    with pytest.raises(NonCanonicalUpdateError, match="left-over bits"):
        unpack_fields(b"\x41", 3, 2, np.uint8)


def test_the_length_must_be_exact():
    with pytest.raises(TruncatedUpdateError):
        unpack_fields(b"", 3, 2, np.uint8)
    with pytest.raises(NonCanonicalUpdateError):
        unpack_fields(b"\0\0", 3, 2, np.uint8)
