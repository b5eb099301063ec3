"""The policy ``learned`` on a machine that is simulated: it finds out what it does to others, and keeps its target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.governor.model import Job, Machine, bursts, run, slowdown, starts_at, steady
from contributor.governor.learning.pace import Pace, largest_that_fits
from contributor.governor.learning.pauses import DUTY_LEAST, Rhythm
from contributor.governor.learning.regression import prior
from contributor.governor.learning.slowdown import Slowdown, Window
from contributor.governor.observation import NodeCounters, Observation
from contributor.governor.policies.learned import Knowledge, Learned
from contributor.governor.sensors.others import OthersSensor
from laws import examples
from written_proc import WrittenProc

JOBS = {
    "one thread": steady(1),
    "every processor": steady(2),
    "twice as many": steady(4),
    "bursts": bursts(2, every_s=2.0, busy_s=1.0),
    "rare bursts": bursts(2, every_s=40.0, busy_s=10.0),
    "short bursts": bursts(1, every_s=0.1, busy_s=0.03),
}
MINUTES_S = 180.0


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_the_job_is_slowed_by_less_than_the_target_and_without_the_policy_by_more(job: Job) -> None:
    machine = Machine(steal=0.12)
    assert slowdown(machine, job, None, seconds=MINUTES_S) > 0.1
    assert slowdown(machine, job, Learned(target_slowdown=0.05), seconds=MINUTES_S) < 0.05


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_the_target_is_kept_where_the_node_takes_half_and_others_are_too_many(threads: int) -> None:
    """Steps are shorter than a reading of the sensor holds, and others wait for each other as well."""
    machine = Machine(steal=0.5, step_cpu_s=0.3)
    assert slowdown(machine, steady(threads), None, seconds=MINUTES_S) > 0.4
    assert slowdown(machine, steady(threads), Learned(target_slowdown=0.05), seconds=MINUTES_S) < 0.05


def test_a_second_build_that_ends_is_not_mistaken_for_room() -> None:
    """What others did to each other a minute ago is no excuse for what the node does to them now."""
    machine, turn_s = Machine(steal=0.5, step_cpu_s=0.3), 60.0

    def job(at_s: float) -> int:
        return 6 if at_s < turn_s else 2

    def owner_s(node: bool) -> float:
        whole, crowded = (run(machine, job, Learned(), seconds=s, node=node).owner_s for s in (2 * turn_s, turn_s))
        return whole - crowded

    assert owner_s(node=False) / owner_s(node=True) - 1 < 0.05


def test_it_works_harder_where_it_hurts_less() -> None:
    def share(steal: float) -> float:
        machine = Machine(steal=steal)
        done = run(machine, steady(1), Learned(), seconds=MINUTES_S)
        return done.steps / run(machine, steady(1), None, seconds=MINUTES_S).steps

    assert share(0.03) > 1.5 * share(0.1) > 1.5 * 1.5 * share(0.3)


def test_a_higher_target_gets_more_done() -> None:
    def steps(target: float) -> int:
        return run(Machine(), steady(1), Learned(target_slowdown=target), seconds=MINUTES_S).steps

    assert steps(0.02) < steps(0.05) < steps(0.1)


def test_nobody_there_is_full_work_and_no_pause() -> None:
    done = run(Machine(), steady(0), Learned(), seconds=30.0)
    assert set(done.duties) == {1.0}
    assert done.steps == run(Machine(), steady(0), None, seconds=30.0).steps


def test_it_gets_more_done_than_waiting_for_the_job_to_end() -> None:
    job = bursts(1, every_s=15.0, busy_s=6.0)
    waits_s = 5.0  # as long as ``idle`` waits in the benchmark
    quiet = (9.0 - waits_s) / 15.0 * run(Machine(), steady(0), None, seconds=MINUTES_S).steps
    assert run(Machine(), job, Learned(), seconds=MINUTES_S).steps > 1.2 * quiet


@pytest.mark.parametrize("begins_s", [20.0, 20.7, 21.5, 22.4, 23.2, 24.1])
def test_a_job_that_begins_beside_a_working_node_is_slowed_by_less_than_the_target(
    tmp_path: Path, begins_s: float
) -> None:
    """All that happens until somebody is noticed counts as well, through the sensor that there is on a machine."""
    machine, turn_s = Machine(steal=0.5, step_cpu_s=0.8), 36.0
    proc, threads = WrittenProc(tmp_path), machine.cpus
    sensor = OthersSensor(tmp_path)

    def sight(owner_s: float, waited_s: float, ours_s: float) -> tuple[float, float]:
        proc.put(proc.us, ran_s=ours_s)
        for thread in range(threads if owner_s else 0):
            proc.put(900 + thread, ran_s=owner_s / threads, waited_s=waited_s / threads)
        values = sensor.read().values
        return values["others_cpu_s"], values["others_wait_s"]

    job = starts_at(begins_s, steady(threads))
    done = run(machine, job, Learned(target_slowdown=0.05), seconds=begins_s + turn_s, sight=sight)
    assert threads * turn_s / done.owner_s - 1 < 0.05
    assert done.steps > begins_s / 0.4 + 2  # and it went on


def test_short_bursts_are_noticed_within_a_step() -> None:
    machine, job = Machine(steal=0.5, step_cpu_s=0.1), bursts(2, every_s=15.3, busy_s=3.0)
    assert slowdown(machine, job, Learned(target_slowdown=0.05), seconds=2 * MINUTES_S) < 0.05


@pytest.mark.parametrize(("busy", "noticed"), [(0.3, True), (0.01, False)])
def test_who_has_just_begun_is_noticed_before_there_is_enough_to_learn_from(busy: float, noticed: bool) -> None:
    def seen(steps: int, cpu_s: float) -> Observation:
        node = NodeCounters(steps=steps, trained_s=0.25 * steps, step_s=0.25, micro_batch=1)
        return Observation(at_ms=0, clock_s=0.25 * steps, others_cpu_s=cpu_s, others_wait_s=cpu_s, cpus=2, node=node)

    policy, state = Learned(), None
    for steps in range(1, 12):  # marks are made at every odd step
        _, state = policy.judge(seen(steps, 0.0), state)
    wish, glimpse = policy.judge(seen(12, 0.25 * busy), state)
    assert (wish.duty < 1) == noticed
    assert (glimpse.marks, glimpse.slowdown) == (state.marks, state.slowdown)  # type: ignore[union-attr]
    told = f"others want {busy:.0%} of the machine" if noticed else "others want 0% of the machine"
    assert wish.reason.startswith(told)


# -- what it learns from -------------------------------------------------------------------


def windows(own: float, ours: float, count: int = 300, noise: float = 0.01) -> Slowdown:
    """After windows in which others wait for each other, and for us, these shares of the time that they want."""
    draws = np.random.default_rng(0)
    known = Slowdown()
    for index in range(count):
        on_s = 1.0 if index % 3 else 0.2
        wait = min(1.0, max(0.0, own + ours * on_s + noise * draws.standard_normal()))
        known = known.see(Window(1.0, on_s, cpu_s=1.0 - wait, wait_s=wait, cpus=2))
    return known


@pytest.mark.parametrize(("own", "ours"), [(0.0, 0.1), (0.5, 0.1), (0.5, 0.0), (0.05, 0.4), (0.8, 0.05)])
def test_what_others_do_to_each_other_is_not_our_fault(own: float, ours: float) -> None:
    known = windows(own, ours)
    assert known.harm(0.5).mean == pytest.approx(ours, abs=0.03)
    assert known.waiting_alone(0.5) == pytest.approx(own, abs=0.03)
    expected, at_most = known.of_full_work(0.5)
    assert expected == pytest.approx((1 - own) / (1 - own - ours) - 1, rel=0.35, abs=0.03)
    assert at_most > expected


@pytest.mark.parametrize(("own", "ours"), [(0.0, 0.1), (0.5, 0.1), (0.05, 0.4)])
@pytest.mark.parametrize("target", [0.02, 0.1])
def test_the_duty_gives_the_slowdown_that_it_is_for(own: float, ours: float, target: float) -> None:
    known = windows(own, ours)
    duty = known.duty_for(target, 0.5)
    assert 0 < duty < 1
    caused = (1 - own) / (1 - own - duty * ours) - 1
    assert 0.4 * target < caused < 1.1 * target  # by the cautious end of what is believed
    assert known.duty_for(2 * target, 0.5) > duty


def test_before_anything_is_seen_it_is_careful_and_later_surer() -> None:
    assert Slowdown().of_full_work(0.5)[1] > 0.4
    assert Slowdown().duty_for(0.05, 0.5) < 0.2
    assert windows(0.1, 0.1).harm(0.5).sd < Slowdown().harm(0.5).sd / 4


def test_a_past_that_comes_to_light_late_teaches_nothing() -> None:
    """A list of threads that is made anew now and then shows a job with all that it did before."""
    known = windows(0.1, 0.4)
    late = known.see(Window(0.5, 0.5, cpu_s=8.0, wait_s=0.1, cpus=2))
    assert late.belief == known.belief
    assert late.of_late == pytest.approx(known.of_late)


def test_what_happened_while_nobody_looked_teaches_nothing() -> None:
    known = windows(0.1, 0.4)
    away = known.see(Window(200.0, 0.0, cpu_s=250.0, wait_s=150.0, cpus=2))
    assert (away.belief, away.paused_wanted_s < known.paused_wanted_s + 1) == (known.belief, True)
    assert known.see(Window(20.0, 19.0, cpu_s=20.0, wait_s=15.0, cpus=2)).belief != known.belief  # a slow step


def test_the_blame_is_what_waited_beyond_the_pauses_whatever_the_model_believes() -> None:
    """A little more is wanted than there is, and yet nobody waits for another: not the usual picture of a crowd."""
    known = replace(Slowdown(), belief=windows(0.3, 0.0).belief)
    assert known.waiting_alone(1.0) > 0.2
    for index in range(40):
        on_s, wait_s = (0.5, 0.5) if index % 10 == 9 else (0.0, 0.0)
        known = known.see(Window(0.5, on_s, cpu_s=1.03 - wait_s, wait_s=wait_s, cpus=2))
    assert known.of_late == pytest.approx(0.05 / 0.98, rel=0.15)


def test_nobody_there_teaches_nothing() -> None:
    known = windows(0.1, 0.1)
    assert known.see(Window(1.0, 1.0, 0.001, 0.5e-3, cpus=2)).belief == known.belief


# -- the parts -----------------------------------------------------------------------------


@given(
    weights=st.tuples(st.floats(-2, 2), st.floats(-2, 2)), inputs=st.lists(st.floats(-1, 1), min_size=30, max_size=40)
)
@settings(max_examples=examples(20), deadline=None)
def test_regression_without_forgetting_is_least_squares(weights: tuple[float, float], inputs: list[float]) -> None:
    belief = prior((0.0, 0.0), (1e3, 1e3), noise=1e-4, memory=1 - 1e-12)
    rows = [(1.0, x) for x in (*inputs, -1.0, 1.0)]
    for row in rows:
        belief = belief.see(row, weights[0] + weights[1] * row[1])
    solved = np.linalg.lstsq(np.asarray(rows), [weights[0] + weights[1] * x for _, x in rows], rcond=None)[0]
    for x in (-1.0, 0.3):
        assert belief.estimate((1.0, x)).mean == pytest.approx(float(solved @ [1.0, x]), abs=1e-2)


def test_what_is_long_ago_is_forgotten_to_the_prior_and_not_to_nothing() -> None:
    belief = prior((0.5,), (1.0,), noise=0.01, memory=0.9)
    for _ in range(200):
        belief = belief.see((1.0,), 2.0)
    sure = belief.estimate((1.0,))
    for _ in range(400):
        belief = belief.see((0.0,), 0.0)
    forgot = belief.estimate((1.0,))
    assert sure.mean > 1.5
    assert (forgot.mean, forgot.sd) == (pytest.approx(0.5, abs=1e-3), pytest.approx(1.0, abs=1e-3))


@given(duty=st.floats(DUTY_LEAST, 1.0), steps=st.lists(st.floats(0.01, 3.0), min_size=150, max_size=200))
@settings(max_examples=examples(25), deadline=None)
def test_pauses_add_up_to_the_share(duty: float, steps: list[float]) -> None:
    rhythm, trained_s, paused_s = Rhythm(), 0.0, 0.0
    for step_s in steps:
        told, rhythm = rhythm.after(step_s, duty)
        trained_s, paused_s = trained_s + step_s, paused_s + step_s * (1 - told) / told
        assert 0 < told <= 1
    owed_s = trained_s * (1 - duty) / duty
    assert paused_s <= owed_s + 1e-6
    if duty > 0.1:  # below, a pause after a long step would be longer than the longest
        assert paused_s >= owed_s - max(steps) / duty - 6.0  # what is saved up for the next pause


def test_pauses_are_long_enough_to_measure() -> None:
    rhythm, pauses = Rhythm(), []
    for _ in range(300):
        told, rhythm = rhythm.after(0.1, 0.8)
        if told < 1:
            pauses.append(0.1 * (1 - told) / told)
    assert min(pauses) > 0.3
    assert len({round(pause, 2) for pause in pauses}) > 5  # of many lengths, to be in step with nobody


# -- pace and micro-batch ------------------------------------------------------------------


def paced(alone_s: float = 0.02, gb: float = 0.01) -> Pace:
    pace = Pace()
    for index in range(60):
        micro_batch, demand = 2 ** (index % 4), (index % 3) / 2
        pace = pace.see(alone_s * micro_batch * (1 + demand), micro_batch, 256, demand)
        pace = pace.see_memory(round((1.0 + gb * micro_batch) * 1e9), micro_batch, 256)
    return pace


def test_step_time_and_memory_are_predicted() -> None:
    pace = paced()
    assert pace.step_s(16, 256, 0.0) == pytest.approx(0.32, rel=0.2)
    assert pace.step_s(4, 256, 1.0) > 1.5 * pace.step_s(4, 256, 0.0)
    assert pace.memory_gb(32, 256).mean == pytest.approx(1.32, rel=0.1)


def test_the_micro_batch_is_the_largest_that_leaves_room() -> None:
    pace = paced(gb=0.5)
    assert largest_that_fits(pace, 256, 100.0, at_most=16) == 16
    assert largest_that_fits(pace, 256, 5.5, at_most=16) == 8
    assert largest_that_fits(pace, 256, 0.5, at_most=16) == 0


def look(free_gb: float, steps: int, trained_s: float) -> Observation:
    node = NodeCounters(steps=steps, trained_s=trained_s, step_s=0.2, micro_batch=8, context=256, ram_bytes=5 * 10**9)
    return Observation(
        at_ms=0,
        clock_s=trained_s,
        ram_free_bytes=round(free_gb * 1e9),
        others_cpu_s=0.0,
        others_wait_s=0.0,
        cpus=2,
        node=node,
    )


def test_another_program_that_takes_memory_makes_the_micro_batch_smaller() -> None:
    policy, state = Learned(leave_gb=1.0), None
    for steps in range(1, 30):
        wish, state = policy.judge(look(50.0, steps, 0.2 * steps), state)
    assert wish.micro_batch_max is None
    state = replace(state or Knowledge(), pace=paced(gb=0.5))
    wish, _ = policy.judge(look(0.0, 30, 6.0), state)
    assert wish.work
    assert wish.micro_batch_max == 4
    assert "0.0 GB of memory are free, 1.0 GB are to be left: 4 examples at once" in wish.reason


def test_asking_twice_after_a_step_gives_the_same_answer() -> None:
    def seen(steps: int) -> Observation:
        node = NodeCounters(steps=steps, trained_s=float(steps), step_s=1.0, micro_batch=1)
        cpu_s = 1.5 * steps
        return Observation(
            at_ms=0, clock_s=float(steps), others_cpu_s=cpu_s, others_wait_s=0.3 * cpu_s, cpus=2, node=node
        )

    policy, state = Learned(), None
    for steps in range(1, 20):
        first, state = policy.judge(seen(steps), state)
        again, state = policy.judge(seen(steps), state)
        assert first.duty == again.duty


def test_what_was_learned_by_another_process_is_kept_and_its_counters_are_not() -> None:
    policy, state = Learned(), None
    for steps in range(1, 30):
        _, state = policy.judge(look(50.0, steps, 0.2 * steps), state)
    assert state is not None
    _, after = policy.judge(look(50.0, 0, 0.0), state)
    assert after.slowdown == state.slowdown
    assert (after.steps, after.trained_s) == (0, 0.0)


def test_without_counters_of_waiting_it_stays_careful() -> None:
    policy, state = Learned(), None
    for steps in range(1, 10):
        node = NodeCounters(steps=steps, trained_s=float(steps), step_s=1.0, micro_batch=1)
        seen = Observation(
            at_ms=0,
            clock_s=float(steps),
            others_cpu_s=1.5 * steps,
            cpus=2,
            node=node,
            unknown={"others_wait_s": "not told here"},
        )
        wish, state = policy.judge(seen, state)
    assert "not measured: not told here" in wish.reason
    share = int(wish.reason.partition("training ")[2].split("%")[0])
    assert 2 <= share <= 20


@pytest.mark.parametrize("gone", [False, True])
def test_a_long_pause_is_cut_short_when_the_others_have_gone(gone: bool) -> None:
    def seen(steps: int, clock_s: float, cpu_s: float, wait_s: float) -> Observation:
        node = NodeCounters(steps=steps, trained_s=5.0 * steps, step_s=5.0, micro_batch=1)
        return Observation(at_ms=0, clock_s=clock_s, others_cpu_s=cpu_s, others_wait_s=wait_s, cpus=2, node=node)

    policy, state, clock_s, cpu_s, wait_s = Learned(), None, 0.0, 0.0, 0.0
    for steps in range(1, 40):
        clock_s, cpu_s, wait_s = clock_s + 5.0, cpu_s + 6.0, wait_s + 4.0
        wish, state = policy.judge(seen(steps, clock_s, cpu_s, wait_s), state)
    assert wish.duty < 0.2
    for _ in range(3):
        clock_s += 1.0
        cpu_s, wait_s = (cpu_s, wait_s) if gone else (cpu_s + 1.5, wait_s + 0.5)
        again, state = policy.judge(seen(39, clock_s, cpu_s, wait_s), state)
    assert (again.duty == 1.0) == gone
    assert again.duty >= wish.duty


def test_a_reading_of_a_moment_ago_makes_no_window() -> None:
    """Else a step is set against the waiting before it, and the pause after it is blamed for the step's."""
    policy, cpu_s = Learned(), 4.0

    def seen(clock_s: float, trained_s: float, wait_s: float, read_at_s: float) -> Observation:
        return Observation(
            at_ms=0,
            clock_s=clock_s,
            others_cpu_s=cpu_s + clock_s,
            others_wait_s=wait_s,
            cpus=2,
            node=NodeCounters(steps=round(trained_s) + 1, trained_s=trained_s, step_s=1.0, micro_batch=1),
            read_at_s={"others": read_at_s} if read_at_s < clock_s else {},
        )

    _, first = policy.judge(seen(10.0, 0.0, 0.0, 10.0), None)
    _, stale = policy.judge(seen(11.0, 1.0, 0.0, 10.7), first)
    assert (stale.marks, stale.slowdown) == (first.marks, first.slowdown)
    _, fresh = policy.judge(seen(12.0, 1.0, 1.0, 12.0), stale)
    _, at_once = policy.judge(seen(12.0, 1.0, 1.0, 12.0), first)
    assert fresh.slowdown == at_once.slowdown != first.slowdown
