"""Choosing the codes of a Fisher: the nearest power of two, and never a value from nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import NonFiniteUpdateError
from barnraise.update_config import CodecConfig
from barnraise.updates import Update, fisher, write_update
from barnraise.updates.fisher import HIGHEST, LOWEST, WEAKEST
from merge.compress import compress
from merge.compress.fisher import choose_codes, with_fisher
from update_samples import BASE, CODECS, SMALL, codec_id, random_change

numbers = st.one_of(
    st.sampled_from([0.0, 1e-45, 1e-38, 2.0**LOWEST, 1.0, 3.4028235e38]),
    st.floats(min_value=0, width=32, allow_nan=False, allow_infinity=False),
)


@settings(deadline=None, max_examples=300)
@given(values=st.lists(st.lists(numbers, max_size=5), min_size=1, max_size=4))
def test_each_value_is_the_nearest_power_of_two_within_reach(values):
    counts_C = np.array([len(chunk) for chunk in values])
    fisher_N = np.array([value for chunk in values for value in chunk], dtype=np.float32)
    found_N = fisher.decode(fisher.encode(choose_codes(fisher_N, counts_C)), counts_C)
    for chunk, found in zip(values, np.split(found_N, np.cumsum(counts_C)[:-1]), strict=True):
        largest = max(found, default=0)
        if largest == 0:
            assert max(chunk, default=0) < 2.0**LOWEST
            continue
        for value, says in zip(np.float32(chunk).astype(np.float64), found.astype(np.float64), strict=True):
            if says == largest * 2.0**-WEAKEST:
                assert min(value, 2.0**HIGHEST) <= says * 2**0.5
            else:
                assert says / 2**0.5 <= min(value, 2.0**HIGHEST) <= says * 2**0.5


def test_powers_of_two_come_back_as_they_are():
    fisher_N = np.exp2(-np.arange(16, dtype=np.float32))
    found_N = fisher.decode(fisher.encode(choose_codes(fisher_N, np.array([16]))), np.array([16]))
    assert np.array_equal(found_N, fisher_N)


@pytest.mark.parametrize("codec", CODECS, ids=codec_id)
def test_a_fisher_of_zero_is_no_fisher_anywhere(codec):
    segments, _ = compress(torch.from_numpy(random_change(SMALL)), SMALL, codec)
    found = with_fisher(segments, np.zeros(SMALL.size, dtype=np.float32), SMALL, codec)
    assert all(segment.fisher == b"" for segment in found)
    update = Update.parse(write_update(SMALL, BASE, codec, found, role="update"), SMALL, base_digest=BASE)
    assert update.has_fisher
    assert not update.fisher(0).any()


def test_only_the_elements_that_are_named_count():
    codec = CodecConfig(name="topk", k=64)
    segments, decoded_P = compress(torch.from_numpy(random_change(SMALL)), SMALL, codec)
    named_P = decoded_P.numpy() != 0
    fisher_P = np.where(named_P, np.float32(0.25), np.float32(1e30))
    found = with_fisher(segments, fisher_P, SMALL, codec)
    update = Update.parse(write_update(SMALL, BASE, codec, found, role="update"), SMALL, base_digest=BASE)
    assert np.array_equal(update.fisher(0), np.where(named_P, np.float32(0.25), np.float32(0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, -1e-45])
def test_what_is_no_fisher_is_refused(bad):
    codec = CodecConfig(name="blockwise", bits=2)
    segments, _ = compress(torch.from_numpy(random_change(SMALL)), SMALL, codec)
    fisher_P = np.ones(SMALL.size, dtype=np.float32)
    fisher_P[7] = bad
    with pytest.raises(NonFiniteUpdateError, match="1 of 4206 elements of the Fisher"):
        with_fisher(segments, fisher_P, SMALL, codec)
