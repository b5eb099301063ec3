"""Judgements on a run's numbers, and the page that shows them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.metric import Readings
from coordinator.web.pages.findings import DAY_S, judge
from coordinator.web.pages.health import health_view
from seeded_run import SeededRun, seeded_run
from web_pages import Pages

NOW_S = 1_790_000_000.0
ENDS = "metadata_expiry_timestamp_seconds"
ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules" / "alerts.yml"


def well(**changes: float) -> Readings:
    """The numbers of a run in good order, but for ``changes``; a name may end in ``__label``."""
    numbers: dict[tuple[str, ...], float] = {
        ("ledger_readable",): 1,
        ("ledger_unread_events",): 0,
        ("ledger_events_total",): 1234,
        ("conductor_beat_timestamp_seconds",): NOW_S - 3,
        ("ray_nodes", "yes"): 1,
        ("ray_nodes", "no"): 0,
        ("disk_free_bytes",): 5e11,
        ("disk_size_bytes",): 1e12,
        ("disk_full_forecast_seconds",): math.inf,
        ("metadata_expiry_timestamp_seconds", "timestamp"): NOW_S + 0.9 * DAY_S,
        ("metadata_expiry_timestamp_seconds", "root"): NOW_S + 300 * DAY_S,
        ("backup_timestamp_seconds",): NOW_S - 3600,
        ("suite_failures",): 0,
        ("rounds_in_a_row", "released"): 9,
        ("contributors_live",): 5,
        ("contributor_share_max_ratio",): 0.3,
        ("contributor_clock_offset_seconds", "median"): 2,
        ("test_hidden_left", "loss"): 500,
        ("test_hidden_wanted", "loss"): 48,
        ("orders_waiting",): 1,
    }
    for name, value in changes.items():
        numbers[tuple(name.split("__"))] = value
    found = Readings()
    for (name, *labels), value in numbers.items():
        if not math.isnan(value):
            found.put(f"barnraise_{name}", value, *labels)
    return found


def titles(found: Readings) -> list[str]:
    return [finding.title for finding in judge(found, int(NOW_S * 1000), "RUN")]


def test_a_run_in_good_order_has_nothing_to_do() -> None:
    assert titles(well()) == []


@pytest.mark.parametrize(
    ("change", "title", "severity", "says"),
    [
        ({"ledger_readable": 0}, "The ledger cannot be read", "critical", "locked"),
        ({"conductor_beat_timestamp_seconds": NOW_S - 301}, "The conductor is silent", "critical", "5 min 1 s"),
        ({"conductor_beat_timestamp_seconds": math.nan}, "No conductor has worked here", "warning", "no sign"),
        ({"ray_nodes__no": 2}, "A machine of the cluster is gone", "warning", "2 Ray nodes"),
        ({"disk_full_forecast_seconds": 3600}, "The disk fills up", "critical", "full in 1 h"),
        ({"disk_full_forecast_seconds": 3 * DAY_S}, "The disk fills up", "warning", "full in 3 d"),
        ({"disk_free_bytes": 2e10}, "The disk fills up", "critical", "20 GB of 1 TB are free"),
        ({f"{ENDS}__timestamp": NOW_S + 60}, "Release metadata ends: timestamp", "critical", "1 min"),
        ({f"{ENDS}__timestamp": NOW_S - 60}, "Release metadata ends: timestamp", "critical", "ended 1 min ago"),
        ({f"{ENDS}__root": NOW_S + 30 * DAY_S}, "Maintainers have to sign again: root", "warning", "30 d"),
        ({f"{ENDS}__root": NOW_S + 3 * DAY_S}, "Maintainers have to sign again: root", "critical", "3 d"),
        ({"backup_timestamp_seconds": math.nan}, "There is no backup", "warning", "never"),
        ({"backup_timestamp_seconds": NOW_S - 3 * DAY_S}, "The last backup is old", "warning", "3 d ago"),
        ({"suite_failures": 4}, "The acceptance tests cannot be run", "critical", "4 times"),
        ({"rounds_in_a_row__rejected": 3}, "Round after round is rejected", "warning", "last 3 rounds"),
        ({"rounds_in_a_row__abandoned": 7}, "Round after round is abandoned", "warning", "last 7 rounds"),
        ({"test_hidden_left__loss": 100}, "Hidden examples run out: loss", "warning", "100 may still be drawn"),
        ({"contributor_share_max_ratio": 0.8}, "One contributor outweighs all others", "warning", "80.0%"),
        ({"contributor_clock_offset_seconds__median": -500}, "Clocks disagree", "warning", "ahead of"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_numbers_and_a_cure(
    change: dict[str, float], title: str, severity: str, says: str
) -> None:
    found = [one for one in judge(well(**change), int(NOW_S * 1000), "RUN") if one.title == title]
    assert [one.severity for one in found] == [severity]
    assert says in found[0].reason
    assert found[0].advice.endswith(".")
    assert found[0].cure


def test_orders_wait_in_vain_only_without_a_conductor() -> None:
    assert "Orders wait" not in titles(well())
    assert "Orders wait" in titles(well(conductor_beat_timestamp_seconds=NOW_S - 900))


def test_the_gravest_is_first() -> None:
    found = judge(well(backup_timestamp_seconds=math.nan, suite_failures=1, ray_nodes__no=1), int(NOW_S * 1000), "RUN")
    assert [one.severity for one in found] == ["critical", "warning", "warning"]
    assert health_view(Readings(), 0, "RUN").worst == "warning"  # nothing could be read: no conductor, no backup


@settings(deadline=None, max_examples=60)
@given(values=st.dictionaries(st.sampled_from(sorted(well())), st.floats(-1e18, 1e18), max_size=8))
def test_no_number_whatever_breaks_the_page(values: dict[str, float]) -> None:
    found = well()
    for name, value in values.items():
        for labels in list(found.of(name)):
            found.put(name, value, *labels)
    view = health_view(found, int(NOW_S * 1000), "RUN")
    assert next(group.title for group in view.groups) == "Ledger"


def test_every_cure_is_a_command_that_there_is() -> None:
    from barnraise.cli import COMMANDS

    everything = well(
        ledger_readable=0, conductor_beat_timestamp_seconds=0, disk_free_bytes=0, backup_timestamp_seconds=math.nan,
        metadata_expiry_timestamp_seconds__root=0, metadata_expiry_timestamp_seconds__timestamp=0, suite_failures=1,
        rounds_in_a_row__rejected=5,
    )  # fmt: skip
    cures = {one.cure.split()[1] for one in judge(everything, int(NOW_S * 1000), "RUN") if one.cure.startswith("barn")}
    assert len(cures) >= 6
    assert cures <= set(COMMANDS)


def test_the_page_and_the_alerts_look_at_the_same_numbers() -> None:
    rules = ALERTS.read_text(encoding="utf-8")
    watched = set(re.findall(r"barnraise_[a-z_]+", rules))
    for name in ("conductor_beat_timestamp_seconds", "disk_full_forecast_seconds", "suite_failures", "ledger_readable"):
        assert f"barnraise_{name}" in watched


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SeededRun:
    return seeded_run(tmp_path_factory.mktemp("seeded") / "run")


def test_the_page_says_what_to_do_and_all_numbers(run: SeededRun) -> None:
    page = Pages(run.state()).html("/health")
    text = page.one("main").text
    assert "There is no backup" in text
    assert "barnraise backup RUN BACKUPS" in text
    assert str(run.folder.root) not in text
    captions = [one.text for one in page.all("caption")]
    assert {"Ledger", "Store", "Disk", "Queues"} <= set(captions)
