"""The convergence benchmark: its schedule, its accounting, and that its rounds are the project's own.

The experiment itself takes hours; here a model of a few hundred parameters trains for a round or two.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, TensorSpec, Turn, Update
from benchmarks.convergence.__main__ import main
from benchmarks.convergence.arms import (
    ARMS,
    DEMO,
    DEMO_ARMS,
    QUICK,
    QUICK_ARMS,
    STANDARD,
    Arm,
    Scale,
    Tuning,
    arm_named,
    blockwise,
)
from benchmarks.convergence.figures import bytes_to_reach, figures_of, mean_curve
from benchmarks.convergence.levels import entries_at_equal_bytes, largest, left_out, one_level, two_levels
from benchmarks.convergence.rates import CONSTANT, COSINE, Rates
from benchmarks.convergence.report import report
from benchmarks.convergence.schedule import ceiling_of, next_job, whole_order, winner
from benchmarks.convergence.simulate import Crowd, Traffic, codec_of, presence, run
from benchmarks.convergence.trunk import BASE, Trunk
from benchmarks.convergence.world import SHARDS, World
from contributor.unit import Wanted, finish_unit

TINY = Scale(
    "tiny",
    ByteLMConfig(dim=8, layers=1, heads=1, hidden=8, context=16),
    rounds=4,
    steps=2,
    batch=2,
    learning_rate=4e-3,
    seeds=2,
    present=8,
    text_bytes=4_000,
    held_out=16,
    final=32,
)
SPACE = ParameterSpace.of([TensorSpec("a", (100, 100)), TensorSpec("b", (50,))])
F32, CHURN = arm_named("f32"), arm_named("churn-topk64")
HERE = (1.0, 0.0, 4e-3)
GRID: list[Tuning] = list(itertools.product(*F32.axes))


@pytest.fixture(scope="module")
def world() -> World:
    torch.set_num_threads(1)
    return World(TINY)


def record(arm: str, seed: int, tuning: Sequence[float], bits: float | None, **more: Any) -> dict[str, Any]:
    curve = [[0.0, 0, 0, 0, 8.0], [2.0, 10, 100, 1_000, 6.0], [4.0, 20, 200, 2_000, bits or 7.0]]
    basis = {"scale": "tiny", "curve": curve, "up_bytes": 200, "down_bytes": 2_000, "cpu_seconds": 1.0}
    return {"arm": arm, "seed": seed, "tuning": list(tuning), "final_bits": bits, **basis, **more}


# Who is present.


@given(seed=st.integers(0, 2**32), swapped=st.integers(1, 8), rounds=st.integers(1, 12))
def test_churn_keeps_the_number_and_swaps_as_many_as_it_says(seed: int, swapped: int, rounds: int) -> None:
    plan = presence(replace(F32, swapped=swapped), TINY, rounds, seed)
    assert all(len(set(here)) == TINY.present and set(here) <= set(range(16)) for here in plan)
    assert all(len(set(a) - set(b)) == swapped for a, b in pairwise(plan))


def test_fast_churn_has_everyone_present_in_half_of_the_rounds() -> None:
    plan = presence(CHURN, STANDARD, 2_000, 0)
    shares = np.bincount(np.concatenate([np.array(here) for here in plan]), minlength=16) / len(plan)
    assert np.abs(shares - 0.5).max() < 0.05
    stays = [sum(who not in after for who in here) for here, after in pairwise(plan)]
    assert TINY.present / np.mean(stays) == 2


def test_without_churn_everyone_is_always_here() -> None:
    assert presence(F32, TINY, 3, 1) == [list(range(8))] * 3


# Traffic.


@given(patches=st.lists(st.integers(1, 100), min_size=1, max_size=12), keyframe=st.integers(1, 300), data=st.data())
def test_catching_up_costs_at_most_a_keyframe_and_nothing_the_second_time(
    patches: list[int], keyframe: int, data: st.DataObject
) -> None:
    constant, lazy = Traffic(10**9), Traffic(keyframe)
    visits = 0
    for size in patches:
        constant.patches.append(size)
        lazy.patches.append(size)
        constant.catch_up([0])
        if data.draw(st.booleans()):
            lazy.catch_up([0])
            visits += 1
            before = lazy.down
            lazy.catch_up([0])
            assert lazy.down == before
    assert constant.down == sum(patches)
    assert lazy.down <= min(sum(patches), visits * keyframe)


# What runs next.


@settings(max_examples=40)
@given(
    lowest=st.tuples(*(st.sampled_from(axis) for axis in F32.axes)),
    slopes=st.tuples(*(st.floats(0.01, 1) for _ in F32.axes)),
)
def test_an_experiment_killed_after_every_run_does_each_once_and_finds_the_best_point(
    lowest: Tuning, slopes: Tuning
) -> None:
    def bits(point: Tuning) -> float:
        apart = [abs(axis.index(a) - axis.index(b)) for axis, a, b in zip(F32.axes, point, lowest, strict=True)]
        return 3.0 + sum(slope * steps for slope, steps in zip(slopes, apart, strict=True))

    records: list[dict[str, Any]] = []
    done: list[tuple[str, Tuning, int]] = []
    while (job := next_job(whole_order(("topk64-forget", "topk64"), 2), TINY, records)) is not None:
        done.append((job.arm.name, job.tuning, job.seed))
        records.append(record(job.arm.name, job.seed, job.tuning, bits(job.tuning)))
    assert len(done) == len(set(done))
    assert winner(arm_named("topk64"), TINY, records) == lowest
    assert [("topk64-forget", lowest, seed) in done for seed in (0, 1)] == [True, True]
    assert ("topk64", lowest, 1) in done


def test_neighbours_differ_in_one_coordinate_by_one_place_and_are_neighbours_back() -> None:
    for point in itertools.product(*F32.axes):
        for other in F32.neighbours(point):
            apart = [abs(axis.index(a) - axis.index(b)) for axis, a, b in zip(F32.axes, point, other, strict=True)]
            assert sorted(apart) == [0, 0, 1]
            assert point in F32.neighbours(other)
    assert {point[2] for point in arm_named("adamw").neighbours((1.0, 0.0, 2e-3))} == {1e-3, 4e-3}


def test_records_of_another_scale_count_for_nothing() -> None:
    records = [record("f32", 0, tuning, 3.0, scale="other") for tuning in GRID]
    job = next_job([("f32", 1)], TINY, records)
    assert job is not None
    assert job.tuning == F32.starts[0]


def test_a_longer_experiment_begins_at_the_winner_of_the_shorter() -> None:
    longer = replace(TINY, name="longer", begins_at=TINY.name)
    records = [record("f32", 0, GRID[3], 2.0), record("f32", 0, GRID[4], 2.5)]
    job = next_job([("f32", 1)], longer, records)
    assert job is not None
    assert job.tuning == GRID[3]
    after = next_job([("f32", 1)], longer, [*records, record("f32", 0, GRID[3], 2.0, scale="longer")])
    assert after is not None
    assert after.tuning in F32.neighbours(GRID[3])


def test_a_run_given_up_wins_nothing_and_is_not_repeated() -> None:
    records = [record("f32", 0, tuning, None if tuning == F32.starts[0] else 3.0) for tuning in GRID]
    assert winner(F32, TINY, records) not in (None, F32.starts[0])
    assert next_job([("f32", 1)], TINY, records) is None


def test_the_ceiling_lies_over_the_best_run_in_the_second_half_only() -> None:
    records = [record("f32", 0, HERE, 5.0), record("f32", 0, (0.7, 0.0, 2e-3), None)]
    assert ceiling_of(F32, TINY, records) == {2.0: 6.3}
    assert ceiling_of(F32, TINY, []) == {}


# Figures.


@given(target=st.floats(4.0, 8.0))
def test_bytes_to_reach_grow_as_the_target_falls(target: float) -> None:
    curve = record("f32", 0, HERE, 4.0)["curve"]
    here, lower = (bytes_to_reach(curve, t, down=False) for t in (target, target - 0.01))
    assert 0 <= here <= 200
    assert here < lower
    assert bytes_to_reach(curve, target, down=True) == pytest.approx(11 * here)


def test_a_loss_that_is_never_reached_costs_infinitely_much() -> None:
    assert math.isinf(bytes_to_reach(record("f32", 0, HERE, 4.0)["curve"], 3.9, down=False))


def test_figures_compare_seed_by_seed() -> None:
    grid = [record(name, 0, t, 9.0) for name in ("f32", "topk64") for t in set(GRID) - {HERE}]
    best = [record("f32", s, HERE, b) for s, b in ((0, 3.0), (1, 3.4))]
    other = [record("topk64", s, HERE, b) for s, b in ((0, 3.1), (1, 3.5), (2, 9.0))]
    records = grid + best + other
    reference = figures_of(F32, TINY, records)
    assert reference is not None
    found = figures_of(arm_named("topk64"), TINY, records, reference)
    assert found is not None
    assert found.gaps == {0: pytest.approx(0.1), 1: pytest.approx(0.1)}
    assert (found.behind, found.behind_spread) == (pytest.approx(0.1), pytest.approx(0))
    assert (reference.final, reference.spread) == (pytest.approx(3.2), pytest.approx(0.2828427))
    assert mean_curve(reference)[-1] == pytest.approx([4.0, 20, 200, 2_000, 3.2])


def test_the_page_has_a_row_for_every_arm_that_ran() -> None:
    records = [record(arm.name, 0, t, 3.0) for arm in ARMS if arm.like is None for t in itertools.product(*arm.axes)]
    records += [record(arm.name, 0, GRID[0], 3.0) for arm in ARMS if arm.like is not None]
    page = report([TINY], records, "2026-01-02")
    assert all(page.count(f"| {arm.title} ") == 2 for arm in ARMS)


# Rounds.


def test_dense_rounds_at_rate_one_average_what_was_trained(world: World) -> None:
    crowd = Crowd(F32, world, 0, TINY.steps)
    base_P = world.initial(0)
    files = [crowd.update(who, 0, base_P, F32.up) for who in range(3)]
    trained = [_trained(world, who, base_P) for who in range(3)]
    trunk = Trunk(world.space, base_P.copy(), (1.0, 0.0))
    trunk.release(files, F32.down)
    np.testing.assert_allclose(trunk.model_P, np.mean(trained, axis=0), rtol=0, atol=1e-5)
    assert not np.array_equal(trunk.model_P, base_P)


def _trained(world: World, who: int, base_P: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    alone = Trunk(world.space, base_P.copy(), (1.0, 0.0))
    alone.release([Crowd(F32, world, 0, TINY.steps).update(who, 0, base_P, F32.up)], F32.down)
    return alone.model_P


def test_a_release_keeps_what_its_codec_left_out_for_the_next(world: World) -> None:
    base_P = world.initial(0)
    files = [Crowd(F32, world, 0, TINY.steps).update(0, 0, base_P, F32.up)]
    dense, sparse = (Trunk(world.space, base_P.copy(), (1.0, 0.0)) for _ in range(2))
    dense.release(files, CodecConfig(name="dense"))
    sparse.release(files, CodecConfig(name="topk", k=64))
    nothing_P = np.zeros(world.space.size, np.float32)
    nothing = finish_unit(Wanted(world.space, BASE, CodecConfig(name="dense")), nothing_P).data
    sparse.release([nothing], CodecConfig(name="dense"))
    np.testing.assert_allclose(sparse.model_P, dense.model_P, rtol=0, atol=1e-6)


def test_a_run_repeats_bit_for_bit_and_counts_its_files(world: World) -> None:
    arm = arm_named("both")
    first, second = (run(arm, HERE, 1, world, {}) for _ in range(2))
    first.pop("cpu_seconds"), second.pop("cpu_seconds")
    assert first == second
    assert first["curve"][-1][1] == TINY.rounds * 8 * TINY.steps * TINY.batch * TINY.model.context
    assert 0 < first["up_bytes"] < run(F32, HERE, 1, world, {})["up_bytes"]


def test_losing_residuals_matters_from_the_first_departure_on(world: World) -> None:
    scale = replace(TINY, every=1)
    lost, kept = (_curve(world, scale, replace(CHURN, on_leaving=fate)) for fate in ("lost", "kept"))
    assert lost[:2] == kept[:2]
    assert lost[-1][4] != kept[-1][4]


def _curve(world: World, scale: Scale, arm: Arm) -> list[list[float]]:
    before, world.scale = world.scale, scale
    try:
        curve: list[list[float]] = run(arm, HERE, 0, world, {})["curve"]
        return curve
    finally:
        world.scale = before


def test_moments_change_nothing_in_the_first_round_and_something_later(world: World) -> None:
    scale = replace(TINY, every=1)
    fresh, kept = (_curve(world, scale, replace(F32, moments=moments)) for moments in (False, True))
    assert fresh[:2] == kept[:2]
    assert fresh[2][4] != kept[2][4]


def test_the_rate_of_a_round_is_the_peak_times_the_factor(world: World) -> None:
    half = replace(TINY, rates=Rates(falling=1.0, lowest=0.5))
    falls = _curve(world, half, F32)
    assert _curve(world, TINY, F32)[:1] == falls[:1]
    assert _curve(world, TINY, F32)[-1] != falls[-1]
    alone = [_curve(world, scale, arm_named("adamw"))[-1][4] for scale in (TINY, half)]
    assert alone[0] != alone[1]


# Rates.


@given(
    rising=st.floats(0, 0.3),
    falling=st.sampled_from([0.0, 0.2, 0.5]),
    lowest=st.floats(0.01, 1),
    shape=st.sampled_from(["linear", "cosine"]),
    rounds=st.integers(1, 300),
)
def test_rates_rise_then_stay_then_fall_to_the_lowest(
    rising: float, falling: float, lowest: float, shape: Literal["linear", "cosine"], rounds: int
) -> None:
    rates = Rates(rising, falling, lowest, shape)
    factors = [rates.factor(number, rounds) for number in range(rounds)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    if falling and rounds > 2:
        assert factors[-1] == pytest.approx(lowest)


def test_a_constant_rate_is_the_peak_in_every_round() -> None:
    assert [CONSTANT.factor(number, 7) for number in range(7)] == [1.0] * 7


def test_a_cosine_over_thirty_rounds() -> None:
    factors = [COSINE.factor(number, 30) for number in range(30)]
    assert factors[0] == pytest.approx(1 / 3)
    assert factors[15] == pytest.approx(0.55, abs=0.06)
    assert factors[-1] == pytest.approx(0.1)


def test_a_run_above_its_ceiling_is_given_up(world: World) -> None:
    found = run(F32, HERE, 0, world, {2.0: 0.1})
    assert found["final_bits"] is None
    assert found["curve"][-1][0] == 2.0


def test_the_single_machine_sees_as_many_bytes(world: World) -> None:
    found = run(arm_named("adamw"), HERE, 0, world, {})
    assert found["curve"][-1][1] == run(F32, HERE, 0, world, {})["curve"][-1][1]
    assert (found["up_bytes"], found["down_bytes"]) == (0, 0)


@settings(max_examples=30)
@given(done=st.floats(0, 0.99), new=st.booleans(), leaves=st.booleans())
def test_special_codecs_are_used_where_they_are_for(done: float, new: bool, leaves: bool) -> None:
    codecs = {name: CodecConfig(name="topk", k=k) for name, k in (("last", 3), ("first", 2), ("early", 4))}
    found = codec_of(replace(CHURN, **codecs), done, new=new, leaves=leaves)
    expected = "last" if leaves else "first" if new else "early" if done < 0.2 else None
    assert found == (codecs[expected] if expected else CHURN.up)
    assert codec_of(CHURN, done, new=new, leaves=leaves) == CHURN.up


def test_what_can_be_run_no_more_is_read_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [arm.name for arm in ARMS if arm.past] == ["turn7"]
    monkeypatch.setattr("sys.argv", ["convergence", "--quick", "--arms", "f32,turn7"])
    with pytest.raises(SystemExit):
        main()
    assert "turn7 is in records and cannot be run any more" in capsys.readouterr().err


# Elements in turn.


def test_an_update_in_turn_says_a_share_and_keeps_the_rest(world: World) -> None:
    base_P, arm = world.initial(0), arm_named("turn8-both")
    crowd = Crowd(arm, world, 0, TINY.steps)
    update = Update.parse(crowd.update(0, 3, base_P, arm.up), world.space, base_digest=BASE)
    assert update.carrier == Turn(world.space, 8, 3)
    said_P = np.concatenate([update.decode(number) for number in range(world.space.segment_count)])
    assert (said_P != 0).mean() == pytest.approx(1 / 8, abs=0.01)
    np.testing.assert_allclose(said_P + crowd._residuals[0], crowd.last_target_P, rtol=1e-5, atol=1e-8)
    assert update.size_bytes < world.space.size / 64 + 4 * update.carried.chunk_count + 1000


def test_a_release_in_turn_moves_a_share_and_keeps_the_rest(world: World) -> None:
    base_P = world.initial(0)
    files = [Crowd(F32, world, 0, TINY.steps).update(0, 0, base_P, F32.up)]
    dense = Trunk(world.space, base_P.copy(), (1.0, 0.0))
    turning = Trunk(world.space, base_P.copy(), (1.0, 0.0), turns=4)
    dense.release(files, F32.down)
    size = turning.release(files, blockwise(4))
    moved_P = turning.model_P != base_P
    assert 0.2 < moved_P.mean() <= 0.26
    assert size < world.space.size / 4 + 2000
    nothing_P = np.zeros(world.space.size, np.float32)
    nothing = finish_unit(Wanted(world.space, BASE, CodecConfig(name="dense")), nothing_P).data
    for _ in range(7):  # what 4 bits left out of the first turn waits for the next cycle
        turning.release([nothing], CodecConfig(name="dense"))
    np.testing.assert_allclose(turning.model_P, dense.model_P, rtol=0, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), k=st.sampled_from([16, 64, 256]))
def test_fewer_levels_leave_out_more_and_more_entries_less(seed: int, k: int) -> None:
    target_P = normal(seed)
    exact_P, _ = largest(target_P, SPACE, k)
    two_P, one_P = two_levels(target_P, SPACE, k), one_level(target_P, SPACE, k)
    assert np.array_equal(one_P != 0, exact_P != 0)
    assert np.array_equal(np.sign(two_P), np.sign(one_P))
    assert len(np.unique(np.abs(two_P))) > len(np.unique(np.abs(one_P)))
    shares = [left_out(target_P, said_P) for said_P in (exact_P, two_P, one_P)]
    assert shares == sorted(shares)
    assert left_out(target_P, one_level(target_P, SPACE, 2 * k)) < shares[-1] < 1


@given(k=st.integers(1, 512))
def test_a_level_bit_buys_between_no_entry_and_a_quarter_more(k: int) -> None:
    assert k <= entries_at_equal_bytes(k) <= 1.3 * k


def normal(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(SPACE.size).astype(np.float32)


def test_names_are_unique_and_point_at_arms_that_have_a_grid() -> None:
    names = [arm.name for arm in ARMS]
    assert len(set(names)) == len(names)
    assert set(QUICK_ARMS) | set(DEMO_ARMS) <= set(names)
    assert all(arm_named(arm.like).like is None for arm in ARMS if arm.like is not None)
    assert all(scale.present <= len(SHARDS) for scale in (QUICK, DEMO, STANDARD))
