"""What sensors make of what a system tells: recorded texts in, fields of an observation out."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.governor.observation import Observation
from contributor.governor.policies import BUILT_IN
from contributor.governor.sensors import sensors_of
from contributor.governor.sensors.battery import of_battery
from contributor.governor.sensors.gpu import GpuSensor
from contributor.governor.sensors.input_idle import InterruptIdle, input_interrupts, logind_idle_s
from contributor.governor.sensors.metered import of_property
from contributor.governor.sensors.others import (
    LIST_EVERY,
    Ledger,
    OthersSensor,
    Times,
    is_stale,
    of_machine,
    of_parent,
    of_processors,
    of_thread,
)
from contributor.governor.sensors.pressure import some_share
from contributor.governor.sensors.temperature import processor_celsius
from laws import examples
from written_proc import WrittenProc

INTERRUPTS = """\
            CPU0       CPU1
   0:         44          0   IO-APIC   2-edge      timer
   1:       1200         34   IO-APIC   1-edge      i8042
  16:          0          7   IO-APIC  16-fasteoi   i801_smbus
  24:       5000       6000   PCI-MSI 327680-edge      xhci_hcd
NMI:          0          0   Non-maskable interrupts
"""
SCHEDSTAT = """\
version 15
timestamp 4298000000
cpu0 0 0 0 0 0 0 1500000000 250000000 1000
domain0 3 0 0
cpu1 0 0 0 0 0 0 500000000 50000000 900
"""


def test_sensors_fill_fields_that_there_are_each_by_one() -> None:
    there = {field.name for field in fields(Observation)}
    filled = [field for sensor in sensors_of(Path()) for field in sensor.fields]
    assert set(filled) <= there
    assert len(filled) == len(set(filled))
    names = {sensor.name for sensor in sensors_of(Path())}
    assert all(set(kind.sensors) <= names for kind in BUILT_IN.values())  # type: ignore[attr-defined]


def test_every_sensor_of_this_machine_answers_or_says_why_not(tmp_path: Path) -> None:
    for sensor in sensors_of(tmp_path):
        reading = sensor.read()
        assert set(reading.values) | set(reading.unknown) == set(sensor.fields)
        assert all(reading.unknown.values())


# -- input ---------------------------------------------------------------------------------


def test_interrupts_of_input_devices_are_added_up() -> None:
    assert input_interrupts(INTERRUPTS) == 1200 + 34 + 5000 + 6000
    assert input_interrupts("CPU0\n 0: 44 IO-APIC 2-edge timer\n") is None


def test_idle_time_begins_at_the_last_move_and_the_first_look_is_one() -> None:
    idle = InterruptIdle()
    looks = [(10, 100.0), (10, 160.0), (11, 161.0), (11, 163.5)]
    assert [idle.look(count, now_s) for count, now_s in looks] == [0.0, 60.0, 0.0, 2.5]
    assert InterruptIdle().look(None, 5.0) is None


@pytest.mark.parametrize(
    ("hint", "since", "told"),
    [
        ("b true", "t 1000000", 4.0),
        ("b false", "t 1000000", 0.0),
        ("b true", "t 0", None),
        ("b false", "t 0", None),
        (None, None, None),
    ],
)
def test_logind_s_hint(hint: str | None, since: str | None, told: float | None) -> None:
    assert logind_idle_s(hint, since, now_us=5_000_000) == told


# -- battery, temperature, network, pressure -----------------------------------------------


def test_batteries() -> None:
    assert of_battery(None).values == {"on_battery": False}
    on_mains = of_battery(SimpleNamespace(percent=81.4, power_plugged=True))
    assert on_mains.values == {"on_battery": False, "battery_share": pytest.approx(0.814)}
    silent = of_battery(SimpleNamespace(percent=50.0, power_plugged=None))
    assert list(silent.unknown) == ["on_battery"]


def test_the_hottest_spot_of_the_processor_counts_and_not_of_the_disk() -> None:
    def spots(*celsius: float) -> list[Any]:
        return [SimpleNamespace(current=degrees) for degrees in celsius]

    assert processor_celsius({"nvme": spots(70.0), "coretemp": spots(41.0, 55.0)}) == 55.0
    assert processor_celsius({"nvme": spots(70.0)}) is None


@pytest.mark.parametrize(("told", "metered"), [("u 1", True), ("u 2", False), ("u 3", True), ("u 4", False)])
def test_what_networkmanager_says(told: str, metered: bool) -> None:
    assert of_property(told).values == {"metered": metered}
    assert "does not know" in of_property("u 0").unknown["metered"]
    assert "does not answer" in of_property(None).unknown["metered"]


def test_pressure() -> None:
    text = "some avg10=12.50 avg60=1.22 avg300=5.35 total=21459937895\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    assert some_share(text) == 0.125


# -- others --------------------------------------------------------------------------------


def test_schedstat_of_processors_and_of_a_thread() -> None:
    assert of_processors(SCHEDSTAT) == (2_000_000_000, 300_000_000)
    assert of_thread("823327 160580 2\n") == (823327, 160580)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 9), st.integers(0, 9))), max_size=20))
@settings(max_examples=examples(50), deadline=None)
def test_sums_over_threads_that_come_and_go_never_shrink(moves: list[dict[str, Times]]) -> None:
    ledger, alive, before = Ledger(), {}, (0, 0)  # type: ignore[var-annotated]
    for looks, moved in enumerate(moves):
        alive = {
            thread: (alive.get(thread, (0, 0))[0] + ran, alive.get(thread, (0, 0))[1] + waited)
            for thread, (ran, waited) in moved.items()
        }
        after = ledger.after(alive)
        assert after >= before
        if looks and moves[looks - 1]:
            assert after == (
                before[0] + sum(r for r, _ in moved.values()),
                before[1] + sum(w for _, w in moved.values()),
            )
        before = after


def thread(proc: Path, pid: int, tid: int, ran_ns: int, waited_ns: int) -> None:
    folder = proc / str(pid) / "task" / str(tid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedstat").write_text(f"{ran_ns} {waited_ns} 1\n")


@pytest.mark.parametrize("whole", [False, True])
def test_everybody_but_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "schedstat").write_text("1 1 1\n")

    def at(ours: int, others: int, waited: int) -> tuple[float, float]:
        thread(tmp_path, 7, 7, ours, ours)
        thread(tmp_path, 9, 9, others, waited)
        if whole:
            fields_ = f"0 0 0 0 0 0 {ours + others} {ours + waited} 1"
            (tmp_path / "schedstat").write_text(f"version 15\ncpu0 {fields_}\n")
        else:
            (tmp_path / "stat").write_text(f"cpu  {(ours + others) // 10_000_000} 0 0 50 0 0 0 0 0 0\n")
        values = sensor.read().values
        return values["others_cpu_s"], values["others_wait_s"]

    sensor = OthersSensor(tmp_path)
    first = at(1_000, 2_000, 300)
    second = at(500_001_000, 1_000_002_000, 100_000_300)
    assert second[0] - first[0] == pytest.approx(1.0)
    assert second[1] - first[1] == pytest.approx(0.1)


def test_threads_are_listed_now_and_then_and_at_once_when_somebody_is_busy_whom_nobody_reads() -> None:
    assert is_stale(LIST_EVERY, 0.0)
    assert not is_stale(LIST_EVERY - 1, 0.02)  # ticks of two processors
    assert is_stale(1, 0.1)


def test_the_line_of_all_processors_and_a_parent() -> None:
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert of_machine("cpu  200 30 4 77777 66 5 5 99 0 0\ncpu0 1 1 1\n") == pytest.approx(234 * tick_s)
    assert of_parent("93 (a) 7 (name) S 12 93 93 0\n") == 12


def others_s(sensor: OthersSensor) -> tuple[float, float]:
    values = sensor.read().values
    return values["others_cpu_s"], values["others_wait_s"]


@pytest.mark.parametrize("looks", range(1, LIST_EVERY + 1))
def test_a_program_that_begins_is_seen_at_the_next_look(tmp_path: Path, looks: int) -> None:
    proc = WrittenProc(tmp_path)
    sensor = OthersSensor(tmp_path)
    quiet = [others_s(sensor) for _ in range(looks)][-1]
    proc.put(900, ran_s=0.3, waited_s=0.2)
    begun = others_s(sensor)
    assert (begun[0] - quiet[0], begun[1] - quiet[1]) == (pytest.approx(0.3), pytest.approx(0.2))
    proc.put(900, 901, ran_s=0.2, waited_s=0.1)  # and a second thread of it
    assert others_s(sensor)[0] - begun[0] == pytest.approx(0.2)


def test_a_thread_that_slept_for_long_is_seen_when_it_wakes(tmp_path: Path) -> None:
    proc = WrittenProc(tmp_path)
    proc.put(900, ran_s=50.0, waited_s=1.0)
    sensor = OthersSensor(tmp_path)
    asleep = [others_s(sensor) for _ in range(3 * LIST_EVERY + 2)][-1]
    proc.put(900, ran_s=50.4, waited_s=1.3)
    awake = others_s(sensor)
    assert (awake[0] - asleep[0], awake[1] - asleep[1]) == (pytest.approx(0.4), pytest.approx(0.3))


def test_what_the_node_and_its_children_do_is_not_others_and_lists_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = WrittenProc(tmp_path)
    for pid, parent in ((800, proc.us), (801, 800), (900, 1)):
        proc.put(pid, ran_s=1.0)
        proc.born_of(pid, parent)
    sensor = OthersSensor(tmp_path)
    first, listings = others_s(sensor), []
    monkeypatch.setattr(sensor, "_list", lambda: listings.append(1) or [])
    for look in range(1, LIST_EVERY):
        for pid in (proc.us, 800, 801):
            proc.put(pid, ran_s=1.0 + 0.1 * look)
        assert others_s(sensor) == first
    assert not listings


def test_threads_that_sleep_are_not_read_at_every_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = WrittenProc(tmp_path)
    for pid in range(900, 950):
        proc.put(pid, ran_s=1.0)
    sensor, opened = OthersSensor(tmp_path), []
    for _ in range(LIST_EVERY + 1):
        others_s(sensor)
    monkeypatch.setattr("os.open", lambda path, flags, real=os.open: opened.append(path) or real(path, flags))
    proc.put(901, ran_s=1.01)
    others_s(sensor)
    assert len(opened) == 1  # the node's own thread


# -- graphics cards ------------------------------------------------------------------------


class NvmlError(Exception):
    """As the driver's library raises it."""


class Recorded:
    """What the driver of a card with 24 GB said, and of a second one that can tell hardly anything."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU = 0

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def __getattr__(self, call: str) -> Any:
        answers = {
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda card: b"GeForce" if card == 0 else "Tesla",
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=3_000_000_000, total=24_000_000_000),
            "nvmlDeviceGetPowerUsage": lambda _: 215_400,
            "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=97),
            "nvmlDeviceGetTemperature": lambda *_: 71,
            "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=7, usedGpuMemory=2_000_000_000)],
        }

        def answer(card: int, *more: Any) -> Any:
            if card == 1 and call not in {"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName"}:
                raise NvmlError("Not Supported")
            return answers[call](card, *more)  # type: ignore[no-untyped-call]

        return answer


def test_cards_as_a_driver_described_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    sensor = GpuSensor()
    sensor._nvml = Recorded()
    first, second = sensor.read().values["gpus"]
    assert (first.name, first.celsius, first.watts, first.busy_share) == ("GeForce", 71.0, 215.4, 0.97)
    assert (first.used_bytes, first.total_bytes, first.ours_bytes) == (3 * 10**9, 24 * 10**9, 2 * 10**9)
    assert (second.name, second.celsius, second.watts, second.used_bytes) == ("Tesla", None, None, None)
