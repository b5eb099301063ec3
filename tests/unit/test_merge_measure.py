"""What is measured of pieces adds up, in any shares, to what the whole updates are."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise.updates import Piece
from barnraise.updates.space import ParameterSpace, TensorSpec
from merge.measure import measure_pieces, total

quick = settings(deadline=None, max_examples=30)
MILLION = 1 << 20


def sparse(updates: int, size: int, seed: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(seed)
    values_KP = torch.randn(updates, size, generator=draws)
    return list(torch.where(torch.rand(updates, size, generator=draws) < 0.3, values_KP, 0.0))


@given(seed=st.integers(0, 1 << 16), size=st.integers(1, 300))
@quick
def test_the_numbers_are_what_they_are_called(seed: int, size: int) -> None:
    rows = sparse(4, size, seed)
    found = measure_pieces(rows, [Piece(0, 0, size, 0)], magnitudes=True)[0]
    exact_KP = torch.stack(rows).double()
    torch.testing.assert_close(found.gram_KK, exact_KP @ exact_KP.T, rtol=1e-12, atol=1e-12)
    for i, first_P in enumerate(rows):
        assert found.magnitudes[i].elements == size
        for j, second_P in enumerate(rows):
            assert int(found.both_KK[i, j]) == int(((first_P != 0) & (second_P != 0)).sum())
            assert int(found.opposed_KK[i, j]) == int((first_P * second_P < 0).sum())


def test_counting_in_words_counts_all() -> None:
    rows = sparse(3, 100_003, 1)
    found = measure_pieces(rows, [Piece(0, 0, len(rows[0]), 0)], magnitudes=False)[0]
    assert int(found.both_KK[0, 1]) == int(((rows[0] != 0) & (rows[1] != 0)).sum())
    assert int(found.opposed_KK[0, 2]) == int((rows[0] * rows[2] < 0).sum())
    assert found.magnitudes == ()


def test_parts_of_a_tensor_add_up() -> None:
    rows = sparse(3, 4000, 2)
    cuts = ((0, 1000), (1000, 4000))
    parts = [
        measure_pieces([row[start:end] for row in rows], [Piece(5, 0, end - start, start)], magnitudes=True)
        for start, end in cuts
    ]
    both, whole = total(parts)[5], measure_pieces(rows, [Piece(5, 0, 4000, 0)], magnitudes=True)[5]
    assert torch.equal(both.both_KK, whole.both_KK)
    assert torch.equal(both.opposed_KK, whole.opposed_KK)
    torch.testing.assert_close(both.gram_KK, whole.gram_KK, rtol=1e-12, atol=1e-12)
    for one, other in zip(both.magnitudes, whole.magnitudes, strict=True):
        assert one.elements == other.elements
        assert all(one.largest(count) == other.largest(count) for count in range(0, 4001, 50))


@given(sizes=st.lists(st.integers(1, MILLION + MILLION // 2), min_size=1, max_size=6))
@quick
def test_pieces_tile_every_segment_and_say_where_they_are(sizes: list[int]) -> None:
    space = ParameterSpace.of(TensorSpec(f"t{number:02d}", (size,)) for number, size in enumerate(sizes))
    covered = [0] * len(sizes)
    for segment in range(space.segment_count):
        first, last = space.segment_range(segment)
        at = 0
        for piece in space.pieces(segment):
            start, end = int(space.tensor_starts[piece.tensor]), int(space.tensor_starts[piece.tensor + 1])
            assert piece.start == at < piece.end
            assert piece.place == first + piece.start == start + covered[piece.tensor]
            assert piece.place + piece.end - piece.start <= end
            covered[piece.tensor] += piece.end - piece.start
            at = piece.end
        assert at == last - first
    assert covered == sizes


def test_a_tensor_without_elements_has_no_piece() -> None:
    space = ParameterSpace.of([TensorSpec("a", (0,)), TensorSpec("b", (3,)), TensorSpec("c", (0, 4))])
    assert space.pieces(0) == (Piece(1, 0, 3, 0),)
