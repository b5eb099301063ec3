from __future__ import annotations

import itertools

import pytest
import torch

from merge.sorting import comparisons, sort_rows


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
