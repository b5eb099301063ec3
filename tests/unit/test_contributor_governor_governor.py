"""The governor: policies come and go while it runs, a failing one is put aside, a restart loses nothing that counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

from barnraise.errors import ConfigError, ConfigUnknownKeyError, ConfigValueError, UsageError
from barnraise.sections import Section
from contributor.governor import Wish
from contributor.governor import policy as policies
from contributor.governor.governor import Governor
from contributor.governor.look import Look
from contributor.governor.observation import NodeCounters, Observation
from contributor.governor.policies.nice import Priority
from contributor.governor.priority import own_cgroup, rank_group
from contributor.governor.sensors.sensor import Reading
from contributor.governor.settings import FILE, parse_choice, read_settings, remove_table, table_of, write_table

DAY_MS = 86_400_000


class Stage:
    """A machine that a test sets: two sensors, two clocks, and what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self.ranks = folder, [], []  # type: ignore[var-annotated]
        self.clock_s, self.idle_s, self.reads = 0.0, 1000.0, 0

    def open(self) -> Governor:
        look = Look((InputStand(self), ClockStand()), lambda: round(self.clock_s * 1000), lambda: self.clock_s)
        return Governor(self.folder, look, self.said.append, self.rank)

    def rank(self, priority: Priority) -> list[str]:
        self.ranks.append(priority)
        return ["no privilege"] if priority == Priority() else []

    def later(self, seconds: float) -> None:
        self.clock_s += seconds


class InputStand:
    name: ClassVar[str] = "input"
    fields: ClassVar[tuple[str, ...]] = ("input_idle_s",)
    every_s: ClassVar[float] = 1.0

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def read(self) -> Reading:
        self._stage.reads += 1
        if self._stage.idle_s < 0:
            raise OSError("the keyboard is gone")
        return Reading({"input_idle_s": self._stage.idle_s})


class ClockStand:
    name: ClassVar[str] = "clock"
    fields: ClassVar[tuple[str, ...]] = ("utc_offset_s",)
    every_s: ClassVar[float] = 1.0

    def read(self) -> Reading:
        return Reading({"utc_offset_s": 0.0})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_no_settings_file_is_no_limit(stage: Stage) -> None:
    governor = stage.open()
    assert not governor.wish().limits
    assert governor.policies == ()


def test_policies_are_loaded_swapped_and_unloaded_while_it_runs(stage: Stage) -> None:
    governor = stage.open()
    governor.stepped(0.1, 4)
    told = []
    for act in (
        lambda: write_table(stage.folder, "idle", {"after_s": 2000}),
        lambda: write_table(stage.folder, "idle", {"after_s": 20}),
        lambda: write_table(stage.folder, "exclusive-app", {"programs": ["steam"]}),
        lambda: remove_table(stage.folder, "exclusive-app"),
        lambda: remove_table(stage.folder, "idle"),
    ):
        act()
        stage.later(20)
        governor.wish()
        stage.later(20)
        told.append((governor.wish().work, governor.policies))
    assert told == [
        (False, ("idle",)),
        (True, ("idle",)),
        (False, ("idle", "exclusive-app")),  # nobody tells which programs run
        (True, ("idle",)),
        (True, ()),
    ]
    assert governor.explain().seen.node.steps == 1
    assert stage.said[-1] == "policies: none"


def test_a_change_is_known_before_it_is_taken_over_and_no_longer_after(stage: Stage) -> None:
    governor = stage.open()
    for act in (
        lambda: write_table(stage.folder, "idle", {"after_s": 2000}),
        lambda: (stage.folder / FILE).write_text("[idle]\nafters = 3\n"),
        lambda: (stage.folder / FILE).unlink(),
    ):
        stage.later(2)
        assert not governor.is_changed()
        act()
        assert governor.is_changed()
        governor.wish()
        assert not governor.is_changed()


def test_an_edit_with_a_mistake_changes_nothing_and_is_said_once(stage: Stage) -> None:
    write_table(stage.folder, "idle", {"after_s": 2000})
    governor = stage.open()
    (stage.folder / FILE).write_text("[idle]\nafters = 3\n")
    for _ in range(3):
        stage.later(5)
        assert not governor.wish().work
    assert len(stage.said) == 1
    assert "unknown key 'afters'; did you mean 'after_s'" in stage.said[0]


def test_a_stop_is_at_once_and_going_on_takes_quiet(stage: Stage) -> None:
    write_table(stage.folder, "idle", {"after_s": 60})
    governor = stage.open()
    assert governor.wish().work
    stage.idle_s = 0.0
    stage.later(1)
    assert not governor.wish().work
    stage.idle_s = 61.0
    stage.later(1)
    assert not governor.wish().work
    stage.later(10)
    assert governor.wish().work


def test_sensors_that_nobody_needs_are_not_asked_and_others_not_too_often(stage: Stage) -> None:
    governor = stage.open()
    governor.wish()
    assert stage.reads == 0
    write_table(stage.folder, "idle", {})
    for _ in range(10):
        stage.later(0.25)
        governor.wish()
    assert stage.reads <= 3
    stage.idle_s = -1.0
    stage.later(5)
    assert "the sensor 'input' failed: OSError('the keyboard is gone')" in governor.wish().reason


# -- policies of others --------------------------------------------------------------------


class Siesta(Section):
    """Of another distribution; fails in the heat."""

    name: ClassVar[str] = "siesta"
    sensors: ClassVar[tuple[str, ...]] = ("input",)
    memory: ClassVar[type[Any] | None] = None
    hours: int = 2

    def judge(self, seen: Observation, state: int | None) -> tuple[Wish, int]:
        looks = (state or 0) + 1
        if looks == 3:
            raise ZeroDivisionError("too hot")
        return Wish(True, f"look {looks}", duty=0.5), looks


class Wordy(Siesta):
    def judge(self, seen: Observation, state: int | None) -> tuple[Any, int]:
        return "please", 0


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    def offer(name: str, target: str) -> None:
        point = EntryPoint(name, f"{__name__}:{target}", policies.GROUP)
        monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.value.rpartition(":")[2]])
        monkeypatch.setattr(policies, "entry_points", lambda group: [point] if group == policies.GROUP else [])

    return offer


def test_a_foreign_policy_is_loaded_and_when_it_fails_unloaded_once(
    stage: Stage, foreign: Callable[[str, str], None]
) -> None:
    foreign("siesta", "Siesta")
    write_table(stage.folder, "siesta", {"hours": 3})
    write_table(stage.folder, "idle", {"after_s": 60})
    governor = stage.open()
    assert [governor.wish().duty for _ in range(4)] == [0.5, 0.5, 1.0, 1.0]
    assert governor.policies == ("idle",)
    assert stage.said == ["the policy 'siesta' failed and is unloaded, the others hold: ZeroDivisionError('too hot')"]
    write_table(stage.folder, "siesta", {"hours": 4})  # other settings are another chance
    stage.later(5)
    governor.wish()
    assert "siesta" in governor.policies


def test_a_foreign_policy_that_wishes_nonsense_is_unloaded(stage: Stage, foreign: Callable[[str, str], None]) -> None:
    foreign("wordy", "Wordy")
    write_table(stage.folder, "wordy", {})
    assert not stage.open().wish().limits
    assert "judge returned str, a Wish was expected" in stage.said[0]


def test_a_foreign_policy_that_is_none_is_refused(stage: Stage, foreign: Callable[[str, str], None]) -> None:
    foreign("stage", "Stage")
    with pytest.raises(ConfigValueError, match="is not a policy: a Section with a method judge was expected"):
        write_table(stage.folder, "stage", {})
    assert not (stage.folder / FILE).exists()


# -- memory --------------------------------------------------------------------------------


def test_a_quota_outlives_the_process(stage: Stage) -> None:
    write_table(stage.folder, "bandwidth", {"quota_mb_per_day": 10})
    first = stage.open()
    first.wish()
    first.transferred(sent_bytes=6_000_000, received_bytes=5_000_000)
    assert not first.wish().transfer
    first.remember()
    second = stage.open()
    assert not second.wish().transfer
    stage.later(DAY_MS / 1000)
    assert second.wish().transfer


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"bandwidth": {"day": 3}}', '{"bandwidth": null}'])
def test_a_damaged_memory_is_forgotten(stage: Stage, damage: str) -> None:
    write_table(stage.folder, "bandwidth", {"quota_mb_per_day": 10})
    (stage.folder / "policy-memory.json").write_text(damage)
    assert stage.open().wish().transfer


def test_memory_is_written_while_it_runs(stage: Stage) -> None:
    write_table(stage.folder, "learned", {})
    governor = stage.open()
    for _ in range(8):
        stage.later(5)
        governor.wish()
    assert (stage.folder / "policy-memory.json").exists()
    assert stage.open().wish().work


# -- rank ----------------------------------------------------------------------------------


def test_the_rank_is_set_with_the_policy_and_taken_back_without(stage: Stage) -> None:
    governor = stage.open()
    write_table(stage.folder, "nice", {"nice": 7})
    stage.later(2)
    governor.wish()
    remove_table(stage.folder, "nice")
    stage.later(2)
    governor.wish()
    assert stage.ranks == [Priority(7, False, True, 1), Priority()]
    assert stage.said == ["policies: nice", "policies: none", "no privilege"]


def test_only_a_cgroup_of_one_s_own_is_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 42)
    own = tmp_path / "app" / "node.scope"
    own.mkdir(parents=True)
    (own / "cpu.weight").write_text("100\n")
    (own / "cgroup.procs").write_text("42\n")
    assert own_cgroup("1:cpu:/x\n0::/app/node.scope\n", tmp_path) == own
    (own / "cgroup.procs").write_text("41\n42\n")
    assert own_cgroup("0::/app/node.scope\n", tmp_path) is None
    assert own_cgroup("0::/\n", tmp_path) is None
    assert own_cgroup("1:cpu:/x\n", tmp_path) is None


@pytest.mark.parametrize(("alone", "enabled"), [(True, "1"), (False, "1"), (True, "0")])
def test_a_session_is_ranked_if_it_is_the_node_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool, enabled: str
) -> None:
    monkeypatch.setattr("os.getsid", lambda _pid: os.getpid() if alone else 1)
    proc = tmp_path / "self"
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    proc.mkdir()
    (tmp_path / "sys" / "kernel" / "sched_autogroup_enabled").write_text(f"{enabled}\n")
    (proc / "cgroup").write_text("0::/\n")
    (proc / "autogroup").write_text("/autogroup-130 nice 0\n")
    told = rank_group(Priority(19), proc, tmp_path)
    assert ((proc / "autogroup").read_text() == "19\n") == (alone and enabled == "1")
    assert bool(told) == (not alone)
    assert all("shares its session" in line for line in told)


def test_a_cgroup_with_others_in_it_is_left_alone_and_that_is_said(tmp_path: Path) -> None:
    proc = tmp_path / "self"
    proc.mkdir()
    (proc / "cgroup").write_text("0::/user.slice/app.scope\n")
    (told,) = rank_group(Priority(19, cgroup_weight=1), proc, tmp_path)
    assert "shares its cgroup with other programs" in told


# -- the settings file ---------------------------------------------------------------------


def test_writing_one_table_leaves_the_rest_of_the_file(tmp_path: Path) -> None:
    text = "# mine\n[idle] # keyboard\nafter_s = 5\n\n[governor]\nresume_after_s = 3\n\n[disk]\nleave_gb = 1\n"
    (tmp_path / FILE).write_text(text)
    write_table(tmp_path, "learned", {"target_slowdown": 0.1})
    assert (tmp_path / FILE).read_text() == text + "\n[learned]\ntarget_slowdown = 0.1\n"
    remove_table(tmp_path, "learned")
    assert (tmp_path / FILE).read_text() == text
    write_table(tmp_path, "idle", {"after_s": 7, "when_unknown": "work"})
    assert (tmp_path / FILE).read_text() == text.replace(
        "[idle] # keyboard\nafter_s = 5\n", '[idle]\nafter_s = 7\nwhen_unknown = "work"\n'
    )
    settings = read_settings(tmp_path)
    assert settings.governor.resume_after_s == 3
    assert list(settings.policies) == ["idle", "disk"]
    assert table_of(tmp_path, "disk") == {"leave_gb": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("idle", ("idle", {})),
        ("idle=after_s=600", ("idle", {"after_s": 600})),
        ("idle=when_unknown=work, after_s=2.5", ("idle", {"when_unknown": "work", "after_s": 2.5})),
        ('exclusive-app=programs=["steam", "a=b"]', ("exclusive-app", {"programs": ["steam", "a=b"]})),
        ("schedule=zone=Europe/Berlin", ("schedule", {"zone": "Europe/Berlin"})),
    ],
)
def test_choices_as_options_name_them(text: str, told: tuple[str, dict[str, Any]]) -> None:
    assert parse_choice(text) == told


def test_what_cannot_be_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected is KEY=VALUE"):
        parse_choice("idle=600")
    with pytest.raises(ConfigUnknownKeyError):
        write_table(tmp_path, "idle", {"afters": 1})
    with pytest.raises(ConfigError, match="greater than 0"):
        write_table(tmp_path, "idle", {"after_s": 0})
    with pytest.raises(ConfigValueError, match="policy 'idle' is not loaded; loaded: none"):
        remove_table(tmp_path, "idle")
    assert not (tmp_path / FILE).exists()
    (tmp_path / FILE).write_text("after_s = 3\n")
    with pytest.raises(ConfigValueError, match="'after_s' stands outside of a table"):
        read_settings(tmp_path)


def test_what_was_read_a_moment_ago_says_when() -> None:
    clocks = iter([10.0, 10.5, 11.5])
    look = Look((ClockStand(),), lambda: 0, lambda: next(clocks))
    first, again, later = (look.around({"clock"}, NodeCounters()) for _ in range(3))
    assert first.is_fresh("clock")
    assert (again.is_fresh("clock"), again.read_at_s) == (False, {"clock": 10.0})
    assert later.is_fresh("clock")
