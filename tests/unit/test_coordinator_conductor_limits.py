"""A task that wants more memory than it said fails, and the process goes on as before."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import torch

from barnraise.errors import AcceptanceError
from coordinator.conductor.limits import memory_limit


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_more_than_the_limit_is_refused_and_said(library: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(AcceptanceError, match="memo asked for more than 64 MB of memory"), memory_limit(64, "memo"):
        np.ones(1 << 26) if library == "numpy" else torch.ones(1 << 27)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert np.ones(1 << 24).sum() == 1 << 24


def test_less_than_the_limit_is_given() -> None:
    with memory_limit(512, "memo"):
        assert torch.ones(1 << 20).sum() == 1 << 20


def test_other_errors_are_not_about_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_limit(512, "memo"):
        raise RuntimeError("a shape that does not fit")
