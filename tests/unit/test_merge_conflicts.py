"""Conflicts: what is reported of updates is so, of any number of them and in bounded space."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise.updates.space import ParameterSpace, TensorSpec
from merge.conflicts import WORST, Agreement, Conflicts, conflicts
from merge.measure import TensorMeasure, measure_pieces, total

SPACE = ParameterSpace.of([TensorSpec("body", (40, 50)), TensorSpec("head", (7, 100))])


def report_of(rows: list[Tensor], space: ParameterSpace = SPACE, reach: tuple[int, ...] | None = None) -> Conflicts:
    measured = total(
        [
            measure_pieces([row[slice(*space.segment_range(s))] for row in rows], space.pieces(s), magnitudes=False)
            for s in range(space.segment_count)
        ]
    )
    return conflicts(measured, space.tensors, [f"u{number}" for number in range(len(rows))], reach)


def sparse(updates: int, density: float, seed: int = 0, space: ParameterSpace = SPACE) -> list[Tensor]:
    draws = torch.Generator().manual_seed(seed)
    values_KP = torch.randn(updates, space.size, generator=draws)
    return list(torch.where(torch.rand(updates, space.size, generator=draws) < density, values_KP, 0.0))


def test_two_that_want_the_same_agree() -> None:
    (one_P,) = sparse(1, 0.2)
    report = report_of([one_P, 3 * one_P])
    assert report.overall.overlap == 1.0
    assert report.overall.opposed == 0.0
    assert report.overall.cosine == pytest.approx(1.0, abs=1e-6)
    assert report.overall.expected_overlap == pytest.approx(0.2, abs=0.03)


def test_where_updates_can_change_the_same_few_elements_only_meeting_there_is_no_surprise() -> None:
    rows = [torch.where(torch.arange(SPACE.size) % 4 == 1, row, 0.0) for row in sparse(3, 1.0)]
    report = report_of(rows, reach=(500, 175))
    assert (report.overall.overlap, report.overall.expected_overlap) == (1.0, 1.0)
    assert report_of(rows).overall.expected_overlap == pytest.approx(0.25, abs=1e-3)
    assert report_of([torch.zeros(SPACE.size)] * 2, reach=(0, 0)).overall.expected_overlap is None


def test_two_that_undo_each_other_are_opposed_everywhere() -> None:
    (one_P,) = sparse(1, 0.2)
    report = report_of([one_P, -one_P])
    assert (report.overall.overlap, report.overall.opposed) == (1.0, 1.0)
    assert report.overall.cosine == pytest.approx(-1.0, abs=1e-6)


def test_independent_updates_overlap_as_chance_says_and_oppose_on_half() -> None:
    report = report_of(sparse(6, 0.3))
    assert report.overall.overlap == pytest.approx(report.overall.expected_overlap, rel=0.1)
    assert report.overall.opposed == pytest.approx(0.5, abs=0.05)
    assert report.overall.cosine == pytest.approx(0.0, abs=0.05)


def test_supports_that_do_not_meet_have_nothing_to_disagree_on() -> None:
    first_P, second_P = torch.zeros(2, SPACE.size)
    first_P[:100], second_P[100:300] = 1.0, 1.0
    assert report_of([first_P, second_P]).overall == Agreement(0.0, 0.1, None, 0.0)


def test_the_tensor_and_the_pair_at_fault_come_first() -> None:
    (one_P,) = sparse(1, 0.2)
    stubborn_P = one_P.clone()
    stubborn_P[2000:] *= -1  # the head
    report = report_of([one_P, one_P, stubborn_P])
    assert [tensor.tensor for tensor in report.worst_tensors] == ["head", "body"]
    assert report.worst_tensors[0].agreement.opposed == pytest.approx(2 / 3, abs=1e-6)
    assert {(pair.first, pair.second) for pair in report.worst_pairs[:2]} == {("u0", "u2"), ("u1", "u2")}
    cosines = [update.agreement.cosine for update in report.updates]
    assert cosines[0] == cosines[1]
    assert cosines[2] is not None
    assert cosines[0] is not None
    assert cosines[2] < cosines[0]
    assert report.updates[0].changed == int(torch.count_nonzero(one_P))


@given(updates=st.integers(1, 6), density=st.sampled_from([0.0, 0.01, 0.5, 1.0]), seed=st.integers(0, 1 << 16))
@settings(deadline=None, max_examples=30)
def test_every_number_is_in_its_range_and_the_report_is_json(updates: int, density: float, seed: int) -> None:
    report = report_of(sparse(updates, density, seed))
    assert report.pairs == updates * (updates - 1) // 2
    agreements = [
        report.overall,
        *(part.agreement for part in (*report.worst_tensors, *report.worst_pairs, *report.updates)),
    ]
    for found in agreements:
        for value in (found.overlap, found.opposed):
            assert value is None or 0 <= value <= 1
        assert found.cosine is None or -1.000001 <= found.cosine <= 1.000001
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["pairs"] == report.pairs


def test_a_report_is_small_whatever_the_model() -> None:
    space = ParameterSpace.of(TensorSpec(f"t{number:04d}", (2,)) for number in range(1000))
    both_KK = torch.full((64, 64), 2)
    found = TensorMeasure(2.0 * torch.eye(64, dtype=torch.float64), both_KK, both_KK // 2)
    report = conflicts(dict.fromkeys(range(1000), found), space.tensors, ["b3:" + "0" * 64] * 64)
    assert (report.pairs, report.tensors) == (2016, 1000)
    assert (len(report.worst_tensors), len(report.worst_pairs), len(report.updates)) == (WORST, WORST, 64)
    assert len(json.dumps(report.as_json())) < 48_000
