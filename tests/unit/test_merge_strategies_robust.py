"""What robust rules promise while their share of the updates lies, and that the plain mean does not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise.errors import NotEnoughUpdatesError
from merge.gram import gram
from merge.strategies import (
    Bucketing,
    Bulyan,
    CentredClipping,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NearestNeighbourMixing,
    PreAggregation,
    Strategy,
    TrimmedMean,
)
from merge.strategies.distances import squares_between, squares_to
from merge.strategies.krum import krum_order
from merging import merged, updates

quick = settings(deadline=None, max_examples=25)
LIES = st.sampled_from(["high", "low", "both", "one element", "same as one honest"])


def among_liars(honest: Sequence[Tensor], liars: int, lie: str, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Honest updates and lies in a random order of digests; and the honest ones alone, in that order."""
    elements = len(honest[0])
    lies = []
    for k in range(liars):
        lie_P = torch.full((elements,), {"low": -1e6}.get(lie, 1e6 if lie != "both" or k % 2 else -1e6))
        if lie == "one element":
            lie_P = honest[0].clone()
            lie_P[k % elements] += 1e6
        lies.append(honest[0].clone() if lie == "same as one honest" else lie_P)
    order = torch.randperm(len(honest) + liars, generator=torch.Generator().manual_seed(seed)).tolist()
    everyone = [*honest, *lies]
    return [everyone[k] for k in order], [everyone[k] for k in order if k < len(honest)]


def within(found_P: Tensor, honest: Sequence[Tensor]) -> bool:
    rows_HP = torch.stack(list(honest))
    slack_P = 1e-5 * rows_HP.abs().amax(0)
    return bool(((found_P <= rows_HP.amax(0) + slack_P) & (found_P >= rows_HP.amin(0) - slack_P)).all())


# -- with as many liars as are tolerated -------------------------------------------------


@pytest.mark.parametrize("more", [0, 1, 4])
@pytest.mark.parametrize(
    ("strategy", "count", "liars"),
    [
        (Median(), 3, 1),
        (Median(), 10, 4),
        (TrimmedMean(trim=0.2), 5, 1),
        (TrimmedMean(trim=0.3), 10, 3),
        (MultiKrum(liars=1), 5, 1),
        (MultiKrum(liars=3), 9, 3),
        (MultiKrum(liars=3, keep=2), 9, 3),
        (Bulyan(liars=1), 7, 1),
        (Bulyan(liars=2), 11, 2),
    ],
    ids=str,
)
@given(seed=st.integers(0, 2**16), lie=LIES)
@quick
def test_every_element_stays_where_honest_updates_are(
    strategy: Strategy, count: int, liars: int, more: int, seed: int, lie: str
) -> None:
    rows, honest = among_liars(updates(count + more - liars, 40, seed, common=2.0), liars, lie, seed)
    assert within(merged(rows, strategy), honest)


@pytest.mark.parametrize("liars", [0, 1, 2, 4])
@given(seed=st.integers(0, 2**16), lie=LIES, more=st.integers(0, 5))
@quick
def test_krum_takes_an_honest_update_as_it_is(liars: int, seed: int, lie: str, more: int) -> None:
    rule = Krum(liars=liars)
    rows, honest = among_liars(updates(rule.min_updates + more - liars, 40, seed), liars, lie, seed)
    found_P = merged(rows, rule)
    assert any(torch.equal(found_P, honest_P) for honest_P in honest)


@pytest.mark.parametrize(("count", "liars"), [(3, 1), (5, 2), (10, 3), (11, 5)])
@given(seed=st.integers(0, 2**16), lie=LIES)
@quick
def test_the_geometric_median_stays_near_the_honest_mean(count: int, liars: int, seed: int, lie: str) -> None:
    """At most 2 (1 - a) / (1 - 2 a) times as far as the furthest honest update, with a the share that lies."""
    rows, honest = among_liars(updates(count - liars, 40, seed, common=2.0), liars, lie, seed)
    mean_P = torch.stack(honest).mean(0)
    spread = max(float((honest_P - mean_P).norm()) for honest_P in honest)
    share = liars / count
    bound = 2 * (1 - share) / (1 - 2 * share) * spread
    assert float((merged(rows, GeometricMedian()) - mean_P).norm()) <= bound * 1.001


@pytest.mark.parametrize("iterations", [1, 3, 10])
@given(seed=st.integers(0, 2**16), lie=LIES, liars=st.integers(1, 3))
@quick
def test_a_liar_moves_centred_clipping_by_its_share_of_the_radius(
    iterations: int, seed: int, lie: str, liars: int
) -> None:
    """Two sets of lies end up at most twice that far apart, for a step is never stretched by clipping."""
    rule = CentredClipping(radius=2.0, unit="absolute", iterations=iterations)
    honest = updates(10 - liars, 40, seed, common=2.0)
    one_P = merged(among_liars(honest, liars, lie, 0)[0], rule)
    other_P = merged(among_liars(honest, liars, "low", 0)[0], rule)
    assert float((one_P - other_P).norm()) <= 2 * iterations * 2.0 * liars / 10 * 1.0001
    assert float(one_P.norm()) <= iterations * 2.0 * 1.0001


@given(seed=st.integers(0, 2**16), lie=LIES)
@quick
def test_centred_clipping_follows_the_size_of_the_updates(seed: int, lie: str) -> None:
    rows, honest = among_liars(updates(9, 40, seed, common=2.0), 1, lie, seed)
    found_P, mean_P = merged(rows, CentredClipping()), torch.stack(honest).mean(0)
    assert float((found_P - mean_P).norm()) < 1.5 * max(float(honest_P.norm()) for honest_P in honest)
    tiny_P = merged([row_P * 2.0**-30 for row_P in rows], CentredClipping())
    torch.testing.assert_close(tiny_P * 2.0**30, found_P)


@pytest.mark.parametrize("before", [(NearestNeighbourMixing(liars=2),), (Bucketing(),)], ids=str)
@pytest.mark.parametrize(
    "strategy",
    [Median(), TrimmedMean(trim=0.34), GeometricMedian(), Krum(liars=2), MultiKrum(liars=2), CentredClipping()],
    ids=str,
)
@given(seed=st.integers(0, 2**16), lie=LIES)
@quick
def test_mixing_first_keeps_the_promise(
    before: tuple[PreAggregation, ...], strategy: Strategy, seed: int, lie: str
) -> None:
    """14 updates with 2 liars make 14 mixtures, or 7 buckets of which 2 may be spoiled."""
    rows, honest = among_liars(updates(12, 40, seed, common=2.0), 2, lie, seed)
    found_P, mean_P = merged(rows, strategy, before=before), torch.stack(honest).mean(0)
    longest = max(float(honest_P.norm()) for honest_P in honest)
    assert float((found_P - mean_P).norm()) < 4 * longest


@given(seed=st.integers(0, 2**16))
@quick
def test_clipping_bounds_what_a_liar_does_to_a_mean(seed: int) -> None:
    rows, honest = among_liars(updates(9, 40, seed), 1, "high", seed)
    usual = sorted(float(row_P.norm()) for row_P in rows)[4]
    moved_P = merged(rows, Mean(), clip_norm_at=1.0) - 0.9 * torch.stack(honest).mean(0)
    assert float(moved_P.norm()) < 0.1 * usual + 0.1 * sum(max(float(h.norm()) - usual, 0.0) for h in honest) + 1e-3


# -- and with more, or without a robust rule ---------------------------------------------


@pytest.mark.parametrize("before", [(), (NearestNeighbourMixing(liars=2),), (Bucketing(),)], ids=str)
def test_the_mean_goes_wherever_one_liar_wants(before: tuple[PreAggregation, ...]) -> None:
    rows, honest = among_liars(updates(9, 40), 1, "high", 0)
    assert not within(merged(rows, Mean(), before=before), honest)
    assert float(merged(rows, Mean(), before=before).mean()) > 1e3


@pytest.mark.parametrize(
    "strategy",
    [Median(), TrimmedMean(trim=0.2), GeometricMedian(), Krum(liars=1), MultiKrum(liars=1), Bulyan(liars=1)],
    ids=str,
)
def test_a_majority_of_liars_wins(strategy: Strategy) -> None:
    rows, honest = among_liars(updates(3, 40), 5, "high", 0)
    assert not within(merged(rows, strategy), honest)


# -- the definitions, computed in the open -----------------------------------------------


def stacked(rows: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(rows)).to(torch.float64)


@given(seed=st.integers(0, 2**16), count=st.integers(2, 9))
@quick
def test_distances_from_inner_products_are_the_distances(seed: int, count: int) -> None:
    rows = updates(count, 40, seed)
    factors_K = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.3
    gram_KK = gram(rows)
    torch.testing.assert_close(
        squares_between(gram_KK), torch.cdist(stacked(rows), stacked(rows)) ** 2, atol=1e-9, rtol=1e-9
    )
    point_P = (factors_K[:, None] * stacked(rows)).sum(0)
    torch.testing.assert_close(squares_to(gram_KK, factors_K), ((stacked(rows) - point_P) ** 2).sum(1))
    assert torch.equal(squares_between(gram([rows[0]] * 3)), torch.zeros(3, 3, dtype=torch.float64))


@given(seed=st.integers(0, 2**16), liars=st.integers(0, 3), more=st.integers(0, 4))
@quick
def test_krum_by_the_book(seed: int, liars: int, more: int) -> None:
    rows = updates(2 * liars + 4 + more, 40, seed)
    rows_KP, scores = stacked(rows), []
    for i in range(len(rows)):
        squares = sorted(float(((rows_KP[i] - rows_KP[j]) ** 2).sum()) for j in range(len(rows)) if j != i)
        scores.append(sum(squares[: len(rows) - liars - 2]))
    order = sorted(range(len(rows)), key=lambda i: scores[i])
    assert krum_order(squares_between(gram(rows)), liars) == order
    assert torch.equal(merged(rows, Krum(liars=liars)), rows[order[0]])
    kept_P = rows_KP[order[: len(rows) - liars]].mean(0)
    torch.testing.assert_close(merged(rows, MultiKrum(liars=liars)).double(), kept_P, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 2**16), liars=st.integers(0, 2), more=st.integers(0, 3))
@quick
def test_bulyan_by_the_book(seed: int, liars: int, more: int) -> None:
    rows = updates(4 * liars + 3 + more, 40, seed)
    left, selected = list(rows), []
    while len(selected) < len(rows) - 2 * liars:
        selected.append(left.pop(krum_order(squares_between(gram(left)), liars)[0]))
    values_SP = stacked(selected)
    keep = len(selected) - 2 * liars
    middle_P = values_SP.quantile(0.5, dim=0)
    near_SP = (values_SP - middle_P).abs().argsort(0)[:keep]
    expected_P = values_SP.gather(0, near_SP).mean(0)
    torch.testing.assert_close(merged(rows, Bulyan(liars=liars)).double(), expected_P, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 2**16), count=st.integers(3, 10))
@quick
def test_the_geometric_median_has_the_least_total_distance(seed: int, count: int) -> None:
    rows = updates(count, 12, seed)
    weights_K = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    found_P = merged(rows, GeometricMedian(iterations=2000), weights=weights_K.tolist()).double()

    def cost(point_P: Tensor) -> float:
        return float((weights_K * (stacked(rows) - point_P).norm(dim=1)).sum())

    lowest = cost(found_P)
    for row_P, step in itertools.product(stacked(rows), (0.001, 0.1, 1.0)):
        assert lowest <= cost(found_P + step * (row_P - found_P)) * (1 + 1e-5)


@given(seed=st.integers(0, 2**16), radius=st.sampled_from([0.5, 3.0, 100.0]), iterations=st.integers(1, 6))
@quick
def test_centred_clipping_by_the_book(seed: int, radius: float, iterations: int) -> None:
    rows = updates(7, 40, seed, common=1.0)
    centre_P = torch.zeros(40, dtype=torch.float64)
    for _ in range(iterations):
        offsets_KP = stacked(rows) - centre_P
        centre_P = centre_P + (offsets_KP * (radius / offsets_KP.norm(dim=1, keepdim=True)).clamp(max=1.0)).mean(0)
    rule = CentredClipping(radius=radius, unit="absolute", iterations=iterations)
    torch.testing.assert_close(merged(rows, rule).double(), centre_P, rtol=1e-5, atol=1e-6)


def test_of_equal_scores_the_first_digest_wins() -> None:
    corners = [torch.tensor(corner) for corner in ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0])]
    assert krum_order(squares_between(gram(corners)), 0)[0] == 4
    assert krum_order(squares_between(gram(corners)), 0)[1:] == [0, 1, 2, 3]


# -- pre-aggregations --------------------------------------------------------------------


@given(seed=st.integers(0, 2**16), liars=st.integers(0, 3), more=st.integers(0, 4))
@quick
def test_nearest_neighbours_by_the_book(seed: int, liars: int, more: int) -> None:
    rows = updates(2 * liars + 2 + more, 40, seed)
    weights_K = torch.ones(len(rows), dtype=torch.float64)
    mixing_KK, kept_K = NearestNeighbourMixing(liars=liars).mix(gram(rows), weights_K, 0)
    assert torch.equal(kept_K, weights_K)
    nearest_KK = torch.cdist(stacked(rows), stacked(rows)).argsort(1)[:, : len(rows) - liars]
    for row_K, nearest in zip(mixing_KK, nearest_KK.tolist(), strict=True):
        assert sorted(row_K.nonzero().view(-1).tolist()) == sorted(nearest)
        torch.testing.assert_close(float(row_K.sum()), 1.0)


@given(seed=st.integers(0, 2**40), count=st.integers(1, 12), size=st.integers(1, 5))
@quick
def test_every_update_is_in_one_bucket(seed: int, count: int, size: int) -> None:
    weights_K = torch.arange(1, count + 1, dtype=torch.float64)
    mixing_LK, bucket_weights_L = Bucketing(size=size).mix(torch.eye(count).double(), weights_K, seed)
    assert len(mixing_LK) == -(-count // size)
    assert bool(((mixing_LK > 0).sum(0) == 1).all())
    assert int((mixing_LK > 0).sum(1).max()) <= size
    torch.testing.assert_close(mixing_LK.sum(1), torch.ones(len(mixing_LK), dtype=torch.float64))
    assert float(bucket_weights_L.sum()) == float(weights_K.sum())


def test_another_seed_deals_other_buckets_and_all_are_likely() -> None:
    together = [0] * 12
    for seed in range(300):
        mixing_LK, _ = Bucketing().mix(torch.eye(12).double(), torch.ones(12, dtype=torch.float64), seed)
        (mine_K,) = [row_K for row_K in mixing_LK if row_K[0] > 0]
        together[int(mine_K[1:].argmax()) + 1] += 1
    assert min(together[1:]) > 10  # 27 are expected


def test_a_bucket_without_weight_has_none_itself() -> None:
    mixing_LK, weights_L = Bucketing(size=3).mix(torch.eye(3).double(), torch.zeros(3, dtype=torch.float64), 0)
    assert weights_L.tolist() == [0.0]
    assert mixing_LK.tolist() == [[1 / 3] * 3]


def test_mixing_needs_updates() -> None:
    none_K, few_K = torch.zeros(0, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    with pytest.raises(NotEnoughUpdatesError, match="needs at least 5"):
        NearestNeighbourMixing(liars=2).mix(torch.eye(4).double(), few_K, 0)
    with pytest.raises(NotEnoughUpdatesError, match="0 updates to mix"):
        Bucketing().mix(torch.zeros(0, 0).double(), none_K, 0)
