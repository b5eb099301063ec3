"""Kill every process of a run, again and again: nothing that was received is lost, or counted twice.

``BARNRAISE_CHAOS_ROUNDS`` says how many kills, ``BARNRAISE_CHAOS_SEED`` which ones and when. With neither it is three
of those that ``test_demo.py`` does not kill: raylet, ray worker and supervisor.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from barnraise.digest import digest_bytes
from barnraise.releases.store import BlobStore
from coordinator.ledger import Ledger
from coordinator.ledger.events import RecordedEvent, ReleaseTagged, UpdateMerged, UpdateReceived
from processes import Program, Site, until

KILLS = int(os.environ.get("BARNRAISE_CHAOS_ROUNDS", "3"))
SEED = int(os.environ.get("BARNRAISE_CHAOS_SEED", "12"))
TARGETS = ("gateway", "conductor", "ray worker", "raylet", "supervisor", "contributor")
COMMAND_LINES = {
    "gateway": r"coordinator\.gateway",
    "conductor": r"coordinator\.conductor",
    "ray worker": "ray::(?!.*Agent)",
    "raylet": "raylet/raylet",
}
NAMES = ("ada", "barbara", "grace")


class Chaos:
    """A run with three volunteers, and a hand that kills."""

    def __init__(self, site: Site, draws: random.Random) -> None:
        self.site, self.draws = site, draws
        self.serving = site.serves(site.write_config())
        self.volunteers = {name: site.joins(name) for name in NAMES}

    def strikes(self, target: str) -> None:
        """Kill a process a few ledger events from now, and start again what nobody else does."""
        self._events_pass(self.draws.randint(1, 15))
        if target == "contributor":
            name = self.draws.choice(NAMES)
            self.volunteers[name].kill()
            self.volunteers[name] = self.site.joins(name)
        elif target == "supervisor":
            self.serving.kill()
            self.site.folder.address.unlink(missing_ok=True)
            self.serving = self.site.serves()
        else:
            self.site.find(COMMAND_LINES[target]).kill()

    def releases_more(self, count: int) -> None:
        wanted = len(self.site.releases()) + count
        until(lambda: len(self.site.releases()) >= wanted or self.serving.ended, f"{wanted} releases")
        assert not self.serving.ended, self.serving.log.read_text()[-2000:]

    def ends(self) -> None:
        for volunteer in self.volunteers.values():
            volunteer.interrupt()
        assert [volunteer.ends() for volunteer in self.volunteers.values()] == [0, 0, 0]
        self.serving.interrupt()
        assert self.serving.ends() == 0

    def _events_pass(self, count: int) -> None:
        with self.site.opens_ledger() as ledger:
            wanted = ledger.last_seq() + count
            until(lambda: ledger.last_seq() >= wanted or self.serving.ended, f"event {wanted}")


@pytest.mark.timeout(180 + 40 * KILLS)
def test_a_run_survives_the_death_of_each_of_its_processes(tmp_path: Path) -> None:
    draws = random.Random(SEED)
    targets = [target for _ in range(KILLS // len(TARGETS) + 1) for target in draws.sample(TARGETS, len(TARGETS))]
    with Site(tmp_path) as site:
        chaos = Chaos(site, draws)
        for target in targets[:KILLS]:
            chaos.strikes(target)
        chaos.releases_more(2)
        chaos.ends()
        assert site.left_behind() == []
        with site.opens_ledger() as ledger:
            events = all_events(ledger)
            assert_nothing_received_is_lost(site, ledger, list(chaos.volunteers.values()), events)
            assert_history_is_whole(events)
            assert_projections_follow_from_events(site, ledger)
        newest = site.releases()[-1]
        recomputed = site.runs("recompute", newest, "--from", str(site.folder.root), "--json").result["releases"]
        assert [row["version"] for row in recomputed] == site.releases()[1:]


def all_events(ledger: Ledger) -> list[RecordedEvent]:
    found: list[RecordedEvent] = []
    while more := ledger.events_after(len(found)):
        found += more
    return found


def assert_nothing_received_is_lost(
    site: Site, ledger: Ledger, volunteers: list[Program], events: list[RecordedEvent]
) -> None:
    """Every receipt stands for one row and one blob; no honest update was blamed for a crash."""
    with_receipt = {said["digest"] for volunteer in volunteers for said in volunteer.said("received")}
    received = Counter(e.event.digest for e in events if isinstance(e.event, UpdateReceived))
    assert with_receipt <= set(received)
    assert set(received.values()) == {1}
    stores = (BlobStore(site.folder.private), BlobStore(site.folder.public))
    for row in ledger.updates():
        blobs = [store.read(row.digest) for store in stores if store.has(row.digest)]
        assert blobs, row
        assert {digest_bytes(blob) for blob in blobs} == {row.digest}
        assert row.state != "rejected", row.reason


def assert_history_is_whole(events: list[RecordedEvent]) -> None:
    assert [recorded.seq for recorded in events] == list(range(1, len(events) + 1))
    tags = [recorded.event for recorded in events if isinstance(recorded.event, ReleaseTagged)]
    versions = [tag.version for tag in tags]
    assert versions == [f"0.1.{number}" for number in range(len(tags))]
    assert [tag.parent for tag in tags] == [None, *versions[:-1]]
    merged = [recorded.event for recorded in events if isinstance(recorded.event, UpdateMerged)]
    assert len({event.digest for event in merged}) == len(merged)
    assert {event.version for event in merged} == set(versions[1:])


def assert_projections_follow_from_events(site: Site, ledger: Ledger) -> None:
    before = tables(site)
    ledger.rebuild()
    assert tables(site) == before
    assert len(before) > 5


def tables(site: Site) -> dict[str, list[str]]:
    """Every row of every table of the ledger, as text."""
    with closing(sqlite3.connect(site.folder.ledger)) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(repr(row) for row in database.execute(f"select * from {name}")) for name in names}
