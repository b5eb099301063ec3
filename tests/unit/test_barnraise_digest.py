"""Digests of many byte strings are those of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import LARGE, digest_bytes, digest_each

BYTES = np.random.default_rng(0).integers(0, 256, 3 * LARGE, dtype=np.uint8).data


@pytest.mark.parametrize("threads", ["1", "3"])
def test_however_they_are_shared_out(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    parts = [BYTES[:size] for size in (0, 1, LARGE - 1, LARGE, 3 * LARGE, 17)]
    assert digest_each(parts) == [digest_bytes(part) for part in parts]


@settings(deadline=None, max_examples=50)
@given(parts=st.lists(st.binary(max_size=3000), max_size=30))
def test_every_part_has_its_own(parts: list[bytes]) -> None:
    assert digest_each(parts) == [digest_bytes(part) for part in parts]
