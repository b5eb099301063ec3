"""Every policy is pure, its wishes are in range, and what it sees that calls for care never makes it bolder."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import ConfigError, ConfigUnknownKeyError
from contributor.governor import Wish
from contributor.governor.observation import Gpu, NodeCounters, Observation
from contributor.governor.policies import BUILT_IN
from contributor.governor.policies.bandwidth import Bandwidth
from contributor.governor.policies.battery import Battery
from contributor.governor.policies.disk import Disk
from contributor.governor.policies.exclusive_app import ExclusiveApp
from contributor.governor.policies.idle import Idle
from contributor.governor.policies.nice import Nice, Priority
from contributor.governor.policies.power import Power
from contributor.governor.policies.schedule import Schedule, minutes_of
from contributor.governor.policies.thermal import Thermal
from contributor.governor.policies.vram import Vram
from contributor.governor.policy import available, make
from laws import examples

GB = 10**9
SHARES = st.floats(0.0, 1.0)
GPUS = st.builds(
    Gpu,
    index=st.just(0),
    name=st.just("card"),
    celsius=st.none() | st.floats(20.0, 110.0),
    watts=st.none() | st.floats(0.0, 600.0),
    used_bytes=st.none() | st.integers(0, 24 * GB),
    total_bytes=st.just(24 * GB),
    ours_bytes=st.none() | st.integers(1, 8 * GB),
)
SEEN = st.builds(
    Observation,
    at_ms=st.integers(1_700_000_000_000, 1_900_000_000_000),
    clock_s=st.floats(0.0, 1e6),
    utc_offset_s=st.none() | st.sampled_from([0.0, 3600.0, -18000.0]),
    input_idle_s=st.none() | st.floats(0.0, 1e5),
    on_battery=st.none() | st.booleans(),
    battery_share=st.none() | SHARES,
    programs=st.none() | st.frozensets(st.sampled_from(["steam", "init", "bash"])),
    cpu_celsius=st.none() | st.floats(20.0, 110.0),
    gpus=st.none() | st.lists(GPUS, max_size=2).map(tuple),
    disk_free_bytes=st.none() | st.integers(0, 100 * GB),
    ram_free_bytes=st.none() | st.integers(0, 64 * GB),
    metered=st.none() | st.booleans(),
    others_cpu_s=st.none() | st.floats(0.0, 1e4),
    others_wait_s=st.none() | st.floats(0.0, 1e4),
    cpus=st.none() | st.integers(1, 64),
    node=st.builds(
        NodeCounters,
        trained_s=st.floats(0.0, 1e4),
        steps=st.integers(0, 1000),
        step_s=st.floats(0.0, 10.0),
        micro_batch=st.integers(0, 64),
        sent_bytes=st.integers(0, 10 * GB),
        ram_bytes=st.none() | st.integers(1, 8 * GB),
    ),
)


def plain(**fields: Any) -> Observation:
    return Observation(**({"at_ms": 1_790_000_000_000, "clock_s": 1000.0, "utc_offset_s": 0.0} | fields))


def judge(policy: Any, seen: Observation, state: Any = None) -> Wish:
    wish, _ = policy.judge(seen, state)
    assert isinstance(wish, Wish)
    return wish


# -- laws of all ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
@given(story=st.lists(SEEN, min_size=1, max_size=4))
@settings(max_examples=examples(12), deadline=None)
def test_any_story_gives_wishes_in_range_and_the_same_ones_again(name: str, story: list[Observation]) -> None:
    policy = make(name, {}, source="here")
    ends = []
    for _ in range(2):
        state, wishes = None, []
        for seen in story:
            wish, state = policy.judge(seen, state)  # a Wish refuses what is out of range
            wishes.append(wish)
        ends.append((wishes, state))
    assert ends[0] == ends[1]
    assert all(wish.reason.isascii() and "\n" not in wish.reason for wish in ends[0][0])


MORE_CAREFUL = {  # field -> whether less of it calls for more care
    "idle": ("input_idle_s", True),
    "battery": ("battery_share", True),
    "disk": ("disk_free_bytes", True),
    "thermal": ("cpu_celsius", False),
}


@pytest.mark.parametrize("name", MORE_CAREFUL)
@given(first=SEEN, seen=SEEN, data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_more_reason_for_care_never_makes_bolder(
    name: str, first: Observation, seen: Observation, data: st.DataObject
) -> None:
    field, less_is_careful = MORE_CAREFUL[name]
    policy = make(name, {}, source="here")
    _, state = policy.judge(first, None)
    ends = {"battery_share": SHARES, "disk_free_bytes": st.integers(0, 100 * GB)}
    low, high = sorted(data.draw(st.tuples(*[ends.get(field, st.floats(0.0, 1e3))] * 2)))
    careful, easy = (low, high) if less_is_careful else (high, low)
    wary = judge(policy, replace(seen, **{field: careful}), state)
    bold = judge(policy, replace(seen, **{field: easy}), state)
    assert wary.work <= bold.work
    assert not (wary.work and bold.work) or wary.duty <= bold.duty


@given(seen=SEEN, low=st.floats(0.0, 600.0), high=st.floats(0.0, 600.0), celsius=st.floats(20.0, 110.0))
@settings(max_examples=examples(30), deadline=None)
def test_a_hungrier_or_fuller_card_never_makes_bolder(
    seen: Observation, low: float, high: float, celsius: float
) -> None:
    low, high = sorted((low, high))

    def card(watts: float, used: int) -> tuple[Gpu, ...]:
        return (Gpu(index=0, name="x", celsius=celsius, watts=watts, used_bytes=used, total_bytes=24 * GB),)

    assert (
        judge(Power(), replace(seen, gpus=card(high, 0))).duty <= judge(Power(), replace(seen, gpus=card(low, 0))).duty
    )
    emptier, fuller = int(low / 600 * 24 * GB), int(high / 600 * 24 * GB)
    assert (
        judge(Vram(), replace(seen, gpus=card(0.0, fuller))).work
        <= judge(Vram(), replace(seen, gpus=card(0.0, emptier))).work
    )


def test_the_table_of_policies_uses_each_policy_s_own_name() -> None:
    assert {name: kind.name for name, kind in BUILT_IN.items()} == {name: name for name in BUILT_IN}  # type: ignore[attr-defined]
    assert set(BUILT_IN) <= set(available())


def test_unknown_settings_and_policies_are_named() -> None:
    with pytest.raises(ConfigUnknownKeyError, match=r"here: \[idle\]: unknown key 'afters'; did you mean 'after_s'"):
        make("idle", {"afters": 1}, source="here")
    with pytest.raises(ConfigError, match="no policy 'siesta'; there are: idle, schedule"):
        make("siesta", {}, source="here")


# -- idle, exclusive-app -------------------------------------------------------------------


def test_idle_waits_for_the_keyboard_to_rest() -> None:
    policy = Idle(after_s=300)
    assert judge(policy, plain(input_idle_s=300.0)).work
    wish = judge(policy, plain(input_idle_s=12.0))
    assert (wish.work, wish.reason) == (False, "the last input was 12 s ago, work begins after 300 s")
    unknown = plain(unknown={"input_idle_s": "no keyboard"})
    assert judge(policy, unknown).reason == "nobody can tell when the last input was: no keyboard"
    assert not judge(policy, unknown).work
    assert judge(Idle(when_unknown="work"), unknown).work


def test_an_exclusive_program_stops_work_until_a_while_after_it_ends() -> None:
    policy, state = ExclusiveApp(programs=("Steam.EXE",), linger_s=30), None
    told = []
    for clock_s, programs in [(0, {"bash"}), (1, {"steam", "bash"}), (5, {"bash"}), (30, set()), (31, set())]:
        wish, state = policy.judge(plain(clock_s=float(clock_s), programs=frozenset(programs)), state)
        told.append(wish.work)
    assert told == [True, False, False, False, True]


# -- schedule ------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


def at(*when: int, fold: int = 0) -> Observation:
    """An instant by the clock of Berlin, on a machine whose own clock is elsewhere."""
    instant = datetime.datetime(*when, tzinfo=BERLIN, fold=fold)  # type: ignore[misc, arg-type]
    return plain(at_ms=int(instant.timestamp() * 1000), utc_offset_s=-18000.0)


def test_hours_over_midnight_belong_to_the_day_they_begin_on() -> None:
    policy = Schedule(hours=("fri 22:00-06:00",), zone="Europe/Berlin")
    assert judge(policy, at(2026, 11, 20, 23)).work  # a Friday
    assert judge(policy, at(2026, 11, 21, 5, 59)).work
    assert not judge(policy, at(2026, 11, 21, 6)).work
    assert not judge(policy, at(2026, 11, 21, 23)).work


def test_daylight_saving_moves_the_instant_and_not_the_hour() -> None:
    policy = Schedule(hours=("daily 02:00-04:00",), zone="Europe/Berlin")
    begins = at(2026, 3, 29, 1, 59)  # the clock jumps from 2 to 3
    assert not judge(policy, begins).work
    assert judge(policy, replace(begins, at_ms=begins.at_ms + 60_000)).work
    assert not judge(policy, replace(begins, at_ms=begins.at_ms + 61 * 60_000)).work  # an hour later it is 4
    both = [at(2026, 10, 25, 2, 30), at(2026, 10, 25, 2, 30, fold=1)]  # the hour that comes twice
    assert both[1].at_ms - both[0].at_ms == 3_600_000
    assert all(judge(policy, seen).work for seen in both)


@given(minute=st.integers(0, 7 * 24 * 60 - 1))
@settings(max_examples=examples(30), deadline=None)
def test_every_minute_is_in_the_hours_or_in_the_others(minute: int) -> None:
    assert (minute in minutes_of("mon-sun 08:00-22:00")) != (minute in minutes_of("daily 22:00-08:00"))
    assert minute in minutes_of("daily")
    assert (minute in minutes_of("fri-mon")) == (minute not in minutes_of("tue-thu"))


@pytest.mark.parametrize(
    "line", ["", "monday 1:00-2:00", "mon 25:00-26:00", "mon-xyz", "daily 08:00", "sat 24:01-24:02"]
)
def test_hours_that_are_none_are_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="hours"):
        make("schedule", {"hours": [line]}, source="here")


def test_without_a_zone_the_clock_of_the_machine_counts() -> None:
    noon_utc = plain(at_ms=int(datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC).timestamp() * 1000))
    policy = Schedule(hours=("daily 07:00-07:30",))
    assert judge(policy, replace(noon_utc, utc_offset_s=-18000.0)).work
    assert not judge(policy, noon_utc).work
    with pytest.raises(ConfigError, match="time zone 'Mars/Base' is not known here"):
        make("schedule", {"zone": "Mars/Base"}, source="here")


# -- battery, disk, thermal, power ---------------------------------------------------------


def test_battery_waits_for_mains_and_for_charge_with_a_margin() -> None:
    policy = Battery(on_battery="work", share_min=0.3, resume_above=0.05)
    told, state = [], None
    for share in (0.5, 0.31, 0.29, 0.31, 0.34, 0.36, 0.31):
        wish, state = policy.judge(plain(on_battery=True, battery_share=share), state)
        told.append(wish.work)
    assert told == [True, True, False, False, False, True, True]
    assert not judge(Battery(), plain(on_battery=True, battery_share=1.0)).work
    assert judge(Battery(), plain(on_battery=False)).work


def test_disk_leaves_its_gigabytes() -> None:
    policy = Disk(leave_gb=5, resume_above_gb=0.5)
    wish, state = policy.judge(plain(disk_free_bytes=int(4.9 * GB)), None)
    assert (wish.work, wish.transfer) == (False, False)
    assert wish.reason == "4.9 GB of disk are free, 5.0 GB are to be left"
    assert not policy.judge(plain(disk_free_bytes=int(5.2 * GB)), state)[0].work
    assert policy.judge(plain(disk_free_bytes=int(5.6 * GB)), state)[0].work


def test_heat_slows_then_stops_and_work_returns_below_the_band() -> None:
    policy, state, told = Thermal(cpu_celsius_max=90, ease_celsius=8), None, []
    for celsius in (70.0, 86.0, 90.0, 85.0, 81.0):
        wish, state = policy.judge(plain(cpu_celsius=celsius), state)
        told.append(round(wish.duty, 3) if wish.work else None)
    assert told == [1.0, 0.625, None, None, 1.0]
    hot_card = (Gpu(index=1, name="x", celsius=84.0),)
    assert judge(policy, plain(cpu_celsius=40.0, gpus=hot_card)).reason == "GPU 1 is at 84 C, the limit is 83 C"


def test_power_takes_the_peak_of_late_and_not_the_coolness_of_a_rest() -> None:
    policy, state, duties = Power(watts_max=150), None, []
    for clock_s, watts in [(0.0, 300.0), (1.0, 30.0), (2.0, 300.0), (602.0, 30.0)]:
        seen = plain(clock_s=clock_s, gpus=(Gpu(index=0, name="x", watts=watts),))
        wish, state = policy.judge(seen, state)
        duties.append(wish.duty)
    assert duties == pytest.approx([0.5, 0.5, 0.5, 1.0], abs=0.01)


def test_vram_shrinks_the_micro_batch_and_then_stops() -> None:
    def card(used_gb: float, ours_gb: float) -> Observation:
        gpu = Gpu(index=0, name="x", used_bytes=int(used_gb * GB), total_bytes=24 * GB, ours_bytes=int(ours_gb * GB))
        return plain(gpus=(gpu,), node=NodeCounters(micro_batch=16))

    assert judge(Vram(leave_gb=4), card(12, 8)).micro_batch_max == 32
    assert judge(Vram(leave_gb=4), card(24, 8)).micro_batch_max == 8
    wish = judge(Vram(leave_gb=4), card(24, 3))
    assert (wish.work, wish.reason) == (False, "GPU 0 has 0.0 GB free, 4.0 GB are to be left")
    assert judge(Vram(), plain(gpus=())).work


# -- bandwidth -----------------------------------------------------------------------------


def moved(sent: int, day: int = 20, received: int = 0, metered: bool | None = None) -> Observation:
    noon = datetime.datetime(2026, 11, day, 12, tzinfo=datetime.UTC)
    node = NodeCounters(sent_bytes=sent, received_bytes=received)
    return plain(at_ms=int(noon.timestamp() * 1000), node=node, metered=metered)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=examples(40), deadline=None)
def test_a_quota_survives_restarts(story: list[tuple[int, bool]]) -> None:
    policy, state, counter, total = Bandwidth(quota_mb_per_day=100), None, 0, 0
    for megabytes, restarts in story:
        if restarts:
            if megabytes * 10**6 >= counter:  # else the next look can tell by itself
                _, state = policy.judge(moved(0), state)
            counter = 0
        counter, total = counter + megabytes * 10**6, total + megabytes
        wish, state = policy.judge(moved(counter), state)
        assert state.spent_bytes == total * 10**6
        assert wish.transfer == (total < 100)
        assert wish.work


def test_a_quota_begins_anew_at_midnight_and_metered_networks_wait() -> None:
    policy = Bandwidth(quota_mb_per_day=1, up_mb_per_s=0.5)
    wish, state = policy.judge(moved(2_000_000), None)
    assert (wish.transfer, wish.up_bytes_per_s) == (False, 500_000.0)
    assert wish.reason == "2.0 MB moved on 2026-11-20, the quota is 1.0 MB"
    wish, state = policy.judge(moved(2_000_000, day=21), state)
    assert wish.transfer
    assert not judge(Bandwidth(), moved(0, metered=True)).transfer
    assert judge(Bandwidth(metered="transfer"), moved(0, metered=True)).transfer
    assert judge(Bandwidth(), moved(0, metered=None)).transfer


def test_nice_never_limits_work() -> None:
    assert not judge(Nice(), plain()).limits
    assert Nice(nice=10, cpu="idle", io="normal").priority() == Priority(10, True, False, 1)
