"""Outer rules: laws of all, then what each one is, over one strategy and over every one."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from barnraise.errors import UnknownStrategyError
from barnraise.merge_config import OuterConfig
from barnraise.update_config import CodecConfig
from merge.plan import MergeRules
from merge.segment import MergedSegment, SegmentUpdates, Trunk, merge_segment
from merge.strategies import (
    BUILT_IN,
    OUTER_RULES,
    FedAdagrad,
    FedAdam,
    FedAvgM,
    FedYogi,
    OuterNesterov,
    OuterNone,
    OuterRule,
    Strategy,
    make_outer,
    make_outer_rule,
)
from merge.strategies.outer import State
from merging import Layout, measured, planned, updates

EVERY: list[OuterRule] = [
    *(kind() for kind in OUTER_RULES),
    OuterNesterov(learning_rate=0.7, momentum=0.9),
    FedAvgM(learning_rate=0.5, momentum=0.9),
    FedAdagrad(learning_rate=0.1, beta1=0.0),
    FedAdam(learning_rate=0.01, beta1=0.8, beta2=0.95, tau=1e-4),
    FedYogi(learning_rate=0.01, beta2=0.0),
]
every_outer = pytest.mark.parametrize("outer", EVERY, ids=str)
quick = settings(deadline=None, max_examples=20)


def bits(values_P: Tensor) -> bytes:
    return values_P.numpy().tobytes()


def walked(outer: OuterRule, changes: list[Tensor]) -> tuple[list[Tensor], State]:
    """The steps that follow from the changes of successive rounds, and what is remembered in the end."""
    state, steps = outer.initial(len(changes[0])), []
    for merged_P in changes:
        step_P, state = outer.step(merged_P, state)
        steps.append(step_P)
    return steps, state


# -- laws --------------------------------------------------------------------------------


@every_outer
def test_what_is_remembered_has_a_slot_and_the_size_of_the_model(outer: OuterRule) -> None:
    for state in (outer.initial(7), walked(outer, updates(3, 7))[1]):
        assert tuple(state) == outer.slots
        assert all(part.dtype == torch.float32 and part.shape == (7,) for part in state.values())


@every_outer
def test_nothing_that_goes_in_is_changed(outer: OuterRule) -> None:
    merged_P, state = updates(1, 50)[0], walked(outer, updates(2, 50, 1))[1]
    before = bits(merged_P), {slot: bits(part) for slot, part in state.items()}
    outer.step(merged_P, state)
    assert (bits(merged_P), {slot: bits(part) for slot, part in state.items()}) == before


@every_outer
def test_elements_do_not_influence_each_other(outer: OuterRule) -> None:
    changes = updates(4, 1001)
    whole, _ = walked(outer, changes)
    first, _ = walked(outer, [change_P[:13] for change_P in changes])
    rest, _ = walked(outer, [change_P[13:] for change_P in changes])
    assert bits(torch.cat([first[-1], rest[-1]])) == bits(whole[-1])


@every_outer
@given(
    seed=st.integers(0, 2**16),
    sizes=st.lists(st.sampled_from([0.0, 1e-38, 1e-20, 1.0, 1e10, 1e30]), min_size=4, max_size=4),
)
@quick
def test_steps_and_state_stay_finite(outer: OuterRule, seed: int, sizes: list[float]) -> None:
    changes = [change_P * size for change_P, size in zip(updates(4, 30, seed), sizes, strict=True)]
    steps, state = walked(outer, changes)
    assert all(bool(torch.isfinite(part).all()) for part in [*steps, *state.values()])


@every_outer
def test_no_change_from_the_start_is_no_step(outer: OuterRule) -> None:
    steps, _ = walked(outer, [torch.zeros(20)] * 3)
    assert not bool(torch.stack(steps).any())


@every_outer
def test_changes_in_one_direction_are_followed(outer: OuterRule) -> None:
    steps, _ = walked(outer, [torch.tensor([1.0, -1.0])] * 5)
    assert all(float(step_P[0]) > 0 > float(step_P[1]) for step_P in steps)


@pytest.mark.parametrize("kind", OUTER_RULES, ids=lambda kind: str(kind.name))
def test_every_outer_rule_names_its_source(kind: type) -> None:
    assert "Source: " in (sys.modules[kind.__module__].__doc__ or "")


# -- what they are -----------------------------------------------------------------------


@pytest.mark.parametrize("outer", [OuterNone(), OuterNesterov(), FedAvgM()], ids=str)
def test_without_effect_the_merged_change_comes_back_exactly(outer: OuterRule) -> None:
    merged_P = torch.cat([updates(1)[0], torch.tensor([-0.0])])
    step_P, state = outer.step(merged_P, {"momentum": torch.ones(len(merged_P))})
    assert bits(step_P) == bits(merged_P)
    assert not any(bool(part.any()) for part in state.values())


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_is_the_one_of_torch(nesterov: bool) -> None:
    parameter = torch.zeros(64, requires_grad=True)
    peer = torch.optim.SGD([parameter], lr=0.7, momentum=0.9, nesterov=nesterov)
    outer: OuterRule = OuterNesterov(0.7, 0.9) if nesterov else FedAvgM(0.7, 0.9)
    changes = updates(5, 64)
    for merged_P in changes:
        parameter.grad = -merged_P
        peer.step()
    torch.testing.assert_close(sum(walked(outer, changes)[0]), parameter.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["fed-adagrad", "fed-adam", "fed-yogi"])
@given(changes=st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=8))
@quick
def test_the_adaptive_ones_are_those_of_the_paper(name: str, changes: list[float]) -> None:
    """Against the formulae in float64, on one element."""
    rate, beta1, beta2, tau = 0.3, 0.9, 0.95, 0.01
    options = {"learning_rate": rate, "beta1": beta1, "tau": tau, **({"beta2": beta2} if name != "fed-adagrad" else {})}
    m, v, expected = 0.0, tau * tau, []
    for change in changes:
        square = change * change
        m = beta1 * m + (1 - beta1) * change
        if name == "fed-adagrad":
            v = v + square
        elif name == "fed-adam":
            v = beta2 * v + (1 - beta2) * square
        else:
            v = v - (1 - beta2) * square * float(np.sign(v - square))
        expected.append(rate * m / (math.sqrt(v) + tau))
    steps, _ = walked(make_outer_rule(name, options), [torch.tensor([change]) for change in changes])
    torch.testing.assert_close([float(step_P) for step_P in steps], expected, rtol=1e-3, atol=1e-5)


def test_adagrad_slows_down_adam_does_not_and_yogi_forgets_a_burst_slowly() -> None:
    steady = [torch.tensor([1.0])] * 200
    adagrad, adam = (walked(rule, steady)[0] for rule in (FedAdagrad(beta1=0.0), FedAdam(beta1=0.0)))
    assert float(adagrad[-1]) < 0.11 < 0.9 < float(adam[-1])
    burst = [torch.tensor([1000.0]), *[torch.tensor([1.0])] * 100]
    yogi, adam = (walked(rule, burst)[0] for rule in (FedYogi(beta1=0.0), FedAdam(beta1=0.0)))
    assert float(yogi[-1]) < 0.7 * float(adam[-1])


# -- over every strategy -----------------------------------------------------------------


def merge_twice(strategy: Strategy, outer: OuterRule) -> list[MergedSegment]:
    """Two rounds of one segment with a dense patch."""
    done: list[MergedSegment] = []
    for seed in range(2):
        rows, layout = updates(strategy.min_updates, 300, seed), Layout((300,))
        rules = MergeRules(strategy)
        found = {tensor: one.magnitudes for tensor, one in measured(rows, strategy, layout).items()}
        fishers = [torch.ones(300) for _ in rows]
        segment = SegmentUpdates(rows, layout.segments[0][1], found, fishers)
        state, residual_P = (done[-1].state, done[-1].residual_P) if done else (outer.initial(300), torch.zeros(300))
        trunk = Trunk(state, residual_P, np.array([0, 300], dtype=np.int64))
        plan = planned(rows, [1.0] * len(rows), rules, layout)
        done.append(merge_segment(segment, plan, rules, outer, trunk, CodecConfig(name="dense")))
    return done


@pytest.mark.parametrize("strategy", [kind() for kind in BUILT_IN], ids=str)
def test_outer_rules_compose_with_every_strategy(strategy: Strategy) -> None:
    plain = [done.decoded_P for done in merge_twice(strategy, OuterNone())]
    for same in (FedAvgM(), OuterNesterov()):
        assert [bits(done.decoded_P) for done in merge_twice(strategy, same)] == [bits(done_P) for done_P in plain]
    for outer in EVERY:
        steps, state = walked(outer, plain)
        done = merge_twice(strategy, outer)
        assert [bits(one.decoded_P) for one in done] == [bits(step_P) for step_P in steps]
        assert {slot: bits(part) for slot, part in done[-1].state.items()} == {s: bits(p) for s, p in state.items()}


# -- making them -------------------------------------------------------------------------


def test_outer_rules_are_made_from_the_configuration() -> None:
    assert make_outer(OuterConfig(name="none")) == OuterNone()
    assert make_outer(OuterConfig(learning_rate=0.7, momentum=0.9)) == OuterNesterov(0.7, 0.9)
    assert make_outer(OuterConfig(name="fed-avg-m", momentum=0.5)) == FedAvgM(momentum=0.5)
    assert make_outer(OuterConfig(name="fed-adagrad", tau=0.1)) == FedAdagrad(tau=0.1)
    assert make_outer(OuterConfig(name="fed-adam", beta1=0.5)) == FedAdam(beta1=0.5)
    assert make_outer(OuterConfig(name="fed-yogi", beta2=0.5)) == FedYogi(beta2=0.5)


@pytest.mark.parametrize("kind", OUTER_RULES, ids=lambda kind: str(kind.name))
def test_the_defaults_are_those_of_the_configuration(kind: type[OuterRule]) -> None:
    assert make_outer(OuterConfig(name=kind.name)) == kind()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fed-adm", {}, "did you mean 'fed-adam'"),
        ("fed-adagrad", {"beta2": 0.9}, "there are learning_rate, beta1, tau"),
        ("fed-avg-m", {"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
        ("outer-nesterov", {"momentum": 1.0}, r"momentum is 1.0, expected a share in \[0, 1\)"),
        ("fed-adam", {"beta2": -0.1}, r"beta2 is -0.1, expected a share in \[0, 1\)"),
        ("fed-yogi", {"tau": 0.0}, "tau is 0.0, expected a number in"),
        ("fed-yogi", {"beta1": "0.9"}, "beta1 is '0.9', expected a number"),
        ("none", {"momentum": 0.1}, "it has none"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, options: dict[str, float | str], message: str) -> None:
    with pytest.raises(UnknownStrategyError, match=message):
        make_outer_rule(name, options)
