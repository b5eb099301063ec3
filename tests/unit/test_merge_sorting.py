from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from barnraise import native
from merge.sorting import comparisons, network, sort_rows

HEADER = Path(native.__file__).parent / "src" / "network.h"


@pytest.mark.parametrize("count", range(1, 11))
def test_the_network_sorts_every_pattern_of_zeros_and_ones(count: int) -> None:
    """The 0-1 principle: a network that sorts these sorts everything (Knuth vol. 3, 5.3.4, theorem Z)."""
    columns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=count))).T
    assert torch.equal(torch.stack(sort_rows(list(columns))), columns.sort(dim=0).values)


@pytest.mark.parametrize("count", [16, 23, 33, 64])
def test_it_agrees_with_a_general_sort(count: int) -> None:
    columns = torch.randn(count, 500, generator=torch.Generator().manual_seed(count))
    assert torch.equal(torch.stack(sort_rows(list(columns))), columns.sort(dim=0).values)


def test_sixteen_rows_need_sixty_three_comparisons() -> None:
    assert len(list(comparisons(16))) == 63
    assert list(comparisons(0)) == list(comparisons(1)) == []


NETWORK = [(int(low), int(high)) for low, high in re.findall(r"CE\((\d+), (\d+)\)", HEADER.read_text())]


def test_the_compiled_network_makes_the_same_comparisons_in_another_order() -> None:
    assert sorted(NETWORK) == sorted(comparisons(32))


@pytest.mark.parametrize("count", range(1, 33))
def test_the_compiled_network_sorts_every_number_of_rows(count: int) -> None:
    pairs = [(low, high) for low, high in NETWORK if high < count]
    if count <= 12:
        columns = np.array(list(itertools.product([0, 1], repeat=count)), np.int8).T
    else:
        columns = np.random.default_rng(count).integers(0, 2, (count, 20_000), np.int8)
    found = columns.copy()
    for low, high in pairs:
        found[low], found[high] = np.minimum(found[low], found[high]), np.maximum(found[low], found[high])
    assert np.array_equal(found, np.sort(columns, axis=0))


def test_the_network_is_kept() -> None:
    assert network(16) == tuple(comparisons(16))
    assert network(16) is network(16)
