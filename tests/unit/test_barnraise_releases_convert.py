"""Converting rounds to nearest, ties to even, and agrees with torch in every bit that counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.releases.convert import BLOCK, NAMES, Stored, narrow, widen

TORCH = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
LARGEST = {"F32": np.float32(3.4e38), "BF16": np.float32(3.38e38), "F16": np.float32(65500.0)}


def bits_of(values: torch.Tensor) -> np.ndarray:
    return values.view(torch.int16 if values.element_size() == 2 else torch.int32).numpy().view(np.uint8)


@settings(deadline=None, max_examples=200)
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    dtype=st.sampled_from(sorted(NAMES.values())),
)
def test_the_bits_are_those_of_torch(values: list[float], dtype: Stored) -> None:
    values_N = np.clip(np.array(values, dtype=np.float32), -LARGEST[dtype], LARGEST[dtype])
    assert np.array_equal(narrow(values_N, dtype), bits_of(torch.from_numpy(values_N).to(TORCH[dtype])))


@settings(deadline=None, max_examples=50)
@given(bits=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=100), dtype=st.sampled_from(["BF16", "F16"]))
def test_what_the_type_can_say_comes_back_exactly(bits: list[int], dtype: Stored) -> None:
    raw_N = np.array(bits, dtype="<u2")
    wide_N = widen(raw_N.view(np.uint8), dtype)
    again_N = narrow(wide_N, dtype).view("<u2")
    number = ~np.isnan(wide_N)
    assert np.array_equal(again_N[number], raw_N[number])
    assert np.isnan(widen(again_N.view(np.uint8), dtype)[~number]).all()


def test_ties_go_to_the_even_neighbour() -> None:
    step = np.float32(2.0**-7)  # between neighbours of 1.0 in bfloat16
    ties_N = np.array([1 + step / 2, 1 + 3 * step / 2, -1 - step / 2], dtype=np.float32)
    assert widen(narrow(ties_N, "BF16"), "BF16").tolist() == [1.0, 1 + 2 * float(step), -1.0]


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_infinities_stay_and_nothing_becomes_one(dtype: Stored) -> None:
    special_N = np.array([np.inf, -np.inf, np.nan, -0.0], dtype=np.float32)
    back_N = widen(narrow(special_N, dtype), dtype)
    assert back_N[:2].tolist() == [np.inf, -np.inf]
    assert np.isnan(back_N[2])
    assert np.signbit(back_N[3])
    with pytest.raises(OverflowError, match="too large"):
        narrow(np.array([1.0, -3.4028e38], dtype=np.float32), dtype)


@pytest.mark.parametrize("bits", [0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_nan_of_any_payload_stays_one(bits: int) -> None:
    hidden_N = np.array([bits], dtype=np.uint32).view(np.float32)
    assert np.isnan(widen(narrow(hidden_N, "BF16"), "BF16")).all()


def test_more_than_one_block() -> None:
    values_N = np.random.default_rng(0).standard_normal(3 * BLOCK + 5, dtype=np.float32)
    assert np.array_equal(narrow(values_N, "BF16"), bits_of(torch.from_numpy(values_N).bfloat16()))
    assert narrow(values_N, "F32").base is not None
