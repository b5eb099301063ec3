"""The ledger records all or nothing, remembers what happened once, and can be rebuilt from its events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from barnraise.errors import (
    BarnraiseError,
    ConfigValueError,
    DiskFullError,
    LedgerVersionError,
    MissingExtraError,
    ReplayedMessageError,
    StorageError,
    TagExistsError,
)
from coordinator.ledger import Ledger, LedgerMovedError, schema
from coordinator.ledger.audit_events import OperatorActed
from coordinator.ledger.engine import writing
from coordinator.ledger.events import (
    EVENTS,
    ChannelMoved,
    ContributorSeen,
    Event,
    LeaseGranted,
    LeaseReleased,
    ReleaseTagged,
    RoundMerged,
    RoundMoved,
    RoundOpened,
    RoundTested,
    RunCreated,
    UpdateChecked,
    UpdateMerged,
    UpdateReceived,
    UpdateRejected,
    UpdateUnmerged,
)
from coordinator.ledger.key_events import KeyReplaced, RecoveryClaimed, RecoveryEnded, RecoveryRegistered
from coordinator.ledger.notice_events import NoticesBegun, NoticeSettled
from coordinator.ledger.order_events import (
    BanLifted,
    ChannelProbed,
    ContributorBanned,
    ContributorQuarantined,
    ModelDerived,
    OrderPlaced,
    OrderSettled,
    QuarantineEnded,
    ReleasePromoted,
    ReleaseWithdrawn,
    ReleaseYanked,
    UpdateReverted,
)
from fresh_ledger import fresh_ledger

BASE = "b3:" + "0" * 64


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = fresh_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def digest(i: int) -> str:
    return f"b3:{i:064x}"


def lease(i: int, *, round_number: int = 1, contributor: str = "c0", issued: int = 1000) -> LeaseGranted:
    return LeaseGranted(
        f"{i:032x}", contributor, round_number, "0.1.0", BASE, "text", f"{i:032x}", issued, issued + 500
    )


def received(i: int, *, round_number: int = 1, contributor: str = "c0", nonce: int = 100) -> UpdateReceived:
    envelope = {"body": {"nonce": f"{nonce + i:032x}"}}
    return UpdateReceived(digest(i), contributor, f"{i:032x}", round_number, BASE, 10, 20, 3, envelope)


def tagged(version: str, parent: str | None = None) -> ReleaseTagged:
    return ReleaseTagged(
        version, parent, BASE, BASE, 0, "patch", "because", {"digest": BASE, "size_bytes": 1}, None, None, 7
    )


def everything(ledger: Ledger) -> dict[str, Any]:
    rounds = ledger.rounds()
    return {
        "run": ledger.run(),
        "contributors": ledger.contributors(),
        "rounds": rounds,
        "leases": [ledger.leases(row.number) for row in rounds],
        "updates": ledger.updates(),
        "releases": ledger.releases(),
        "channels": ledger.channel_rows(),
        "orders": ledger.orders(),
        "bans": ledger.bans(),
        "derived": ledger.derived(),
        "keys": [ledger.keys.chain(key) for key in ("c0", "c1")],
        "recoveries": [ledger.keys.recovery(key) for key in ("c0", "c1")],
        "claims": [ledger.keys.claim(claim) for claim in ("1", "2")],
        "nonces": ledger.nonce_subject("c0", f"{1:032x}"),
    }


STORY: tuple[Event, ...] = (
    RunCreated("toy", BASE, {"a": [1, 2.5]}, "k" * 64, BASE),
    tagged("0.1.0"),
    ChannelMoved("nightly", None, "0.1.0"),
    RoundOpened(1, "0.1.0", BASE),
    ContributorSeen("c0", "Ada"),
    lease(1),
    lease(2, contributor="c1"),
    lease(3, contributor="c2"),
    received(1),
    received(2, contributor="c1"),
    received(3, contributor="c2"),
    UpdateChecked(digest(1), 1, [0.1, 0.25], "alone it does no harm", {"worsening": -0.1}),
    UpdateRejected(digest(2), 1, "check", "it is poison", {"worsening": 4.0}),
    UpdateUnmerged(digest(3), 1, "too late", {"merged_meanwhile": ["0.1.1"]}),
    RoundMoved(1, "merging", "1 of 1 checked", {"phase": "merging", "checked": [digest(1)]}),
    ContributorSeen("c0", "Ada L."),
    tagged("0.1.1", "0.1.0"),
    UpdateMerged(digest(1), 1, "0.1.1", 1.0),
    ChannelMoved("nightly", "0.1.0", "0.1.1"),
    RoundMoved(1, "released", "0.1.1 is tagged", {}),
    RoundOpened(2, "0.1.1", BASE),
    RoundMerged(1, "1 update by mean", {"updates": [{"digest": digest(1), "clip": 1.0}]}),
    RoundTested(1, True, "none is worse", {"loss-text": {"effect": -0.1}}),
)

ORDERS: tuple[Event, ...] = (
    *STORY,
    OrderPlaced("1", {"kind": "yank", "version": "0.1.0", "reason": "wrong licence"}),
    OperatorActed("0123abcd", "ordered", "this machine", "1"),
    OrderPlaced("2", {"kind": "revert", "updates": [digest(1)]}),
    ReleaseYanked("0.1.0", "wrong licence"),
    OrderSettled("1", True, "0.1.0 is yanked", {"version": "0.1.0"}),
    ReleasePromoted("0.1.0"),
    ReleaseWithdrawn("0.1.0"),
    ReleasePromoted("0.1.1"),
    ChannelMoved("stable", None, "0.1.1", "promoted"),
    ContributorBanned("c0", 5, "it lies"),
    ContributorBanned("c1", 6, "a mistake"),
    BanLifted("c1", "it was a mistake"),
    ContributorQuarantined("c2", "too good"),
    ContributorQuarantined("c3", "a mistake"),
    QuarantineEnded("c3", "it was one"),
    replace(tagged("0.1.2", "0.1.1"), reverts=[digest(1)]),
    UpdateReverted(digest(1), "0.1.2", "as if it had never been merged"),
    ChannelMoved("nightly", "0.1.1", "0.1.2"),
    ChannelProbed("nightly", "0.1.2", "0.1.1", True, "not worse", {"loss-text": {"effect": 0.0}}),
    ModelDerived("toy-de", "0.1.0", digest(7), digest(8), 1000, "toy", "0.1.1", "the first import of this name"),
    lease(8, contributor="c2"),
    LeaseReleased(lease(8, contributor="c2").lease_id, "c2", 1),
    RecoveryRegistered("c0", "r0", {}),
    RecoveryRegistered("c1", "r1", {}),
    KeyReplaced("c0", "c0", "c0-2", "rotated", "by both keys", {}),
    RecoveryClaimed("1", "c0", "c0-3", "r0", 99, {}),
    RecoveryEnded("1", "c0", True, "nobody objected", {}),
    KeyReplaced("c0", "c0-2", "c0-3", "recovered", "by the recovery key", {}),
    RecoveryClaimed("2", "c1", "thief", "r1", 99, {}),
    RecoveryEnded("2", "c1", False, "the key in use objects", {}),
    NoticesBegun("ops", 3),
    NoticeSettled("ops", 4, "msg_1", False, 10, "given up after 10 attempts: answered 500", 4),
)


def tell(ledger: Ledger, events: tuple[Event, ...] = STORY) -> None:
    for at_ms, event in enumerate(events):
        ledger.record(event, at_ms=at_ms)


def test_a_story_leaves_the_rows_that_follow_from_it(ledger: Ledger) -> None:
    tell(ledger)
    run = ledger.run()
    assert run is not None
    assert run.config == {"a": [1, 2.5]}
    assert [(row.contributor, row.name, row.first_seen_at_ms) for row in ledger.contributors()] == [("c0", "Ada L.", 4)]
    assert [(row.digest, row.state) for row in ledger.updates(round=1)] == [
        (digest(1), "merged"),
        (digest(2), "rejected"),
        (digest(3), "unmerged"),
    ]
    merged = ledger.update(digest(1))
    assert merged is not None
    assert (merged.version, merged.weight, merged.segment_square_sums) == ("0.1.1", 1.0, [0.1, 0.25])
    assert merged.evidence == {"worsening": -0.1}
    assert [row.digest for row in ledger.updates(state="rejected")] == [digest(2)]
    first = ledger.round(1)
    assert first is not None
    assert (first.phase, first.first_lease_at_ms, first.opened_at_ms) == ("released", 1000, 3)
    current = ledger.current_round()
    assert current is not None
    assert (current.number, current.phase, current.state) == (2, "collecting", {})
    assert [row.version for row in ledger.releases()] == ["0.1.0", "0.1.1"]
    newest = ledger.newest_release()
    assert newest is not None
    assert newest == ledger.release("0.1.1")
    assert ledger.channels() == {"nightly": "0.1.1"}


def test_an_empty_ledger_answers_with_nothing(ledger: Ledger) -> None:
    assert ledger.last_seq() == 0
    assert (ledger.run(), ledger.current_round(), ledger.newest_release()) == (None, None, None)
    assert (ledger.updates(), ledger.releases(), ledger.events_after(0)) == ([], [], [])


def test_a_round_keeps_its_newest_merge_and_what_was_said_of_it(ledger: Ledger) -> None:
    tell(ledger)
    row = ledger.round(1)
    assert row is not None
    assert row.merge == {"updates": [{"digest": digest(1), "clip": 1.0}]}
    assert row.verdict == {"passed": True, "reason": "none is worse", "tests": {"loss-text": {"effect": -0.1}}}
    late = ledger.update(digest(3))
    assert late is not None
    assert late.evidence == {"merged_meanwhile": ["0.1.1"]}
    ledger.record(RoundMerged(1, "again, without culprits", {"updates": []}), at_ms=99)
    row = ledger.round(1)
    assert row is not None
    assert (row.merge, row.verdict) == ({"updates": []}, None)
    with pytest.raises(RuntimeError, match="round 7 was never opened"):
        ledger.record(RoundTested(7, True, "", {}), at_ms=99)


def test_rebuilding_gives_what_was_there(ledger: Ledger) -> None:
    tell(ledger, ORDERS)
    before = everything(ledger)
    ledger.rebuild()
    assert everything(ledger) == before


def test_orders_leave_marks_on_releases_updates_channels_and_keys(ledger: Ledger) -> None:
    tell(ledger, ORDERS)
    marks = [(row.version, row.yanked, row.promoted_at_ms is not None, row.reverts) for row in ledger.releases()]
    assert marks == [
        ("0.1.0", "wrong licence", False, []),
        ("0.1.1", None, True, []),
        ("0.1.2", None, False, [digest(1)]),
    ]
    gone = ledger.update(digest(1))
    assert gone is not None
    assert (gone.state, gone.version, gone.reverted_in) == ("reverted", "0.1.1", "0.1.2")
    assert [order.order_id for order in ledger.orders(waiting=True)] == ["2"]
    settled = ledger.order("1")
    assert settled is not None
    assert (settled.done, settled.reason, settled.result) == (True, "0.1.0 is yanked", {"version": "0.1.0"})
    assert list(ledger.bans()) == ["c0"]
    assert [(row.name, row.version, row.parent_version) for row in ledger.derived()] == [("toy-de", "0.1.0", "0.1.1")]
    assert (ledger.ban("c1"), ledger.order("3")) == (None, None)
    nightly, stable = ledger.channel_rows()
    assert (nightly.previous, nightly.probe and nightly.probe["against"]) == ("0.1.1", "0.1.1")
    assert (stable.version, stable.previous, stable.reason) == ("0.1.1", None, "promoted")
    head = ledger.head()
    assert head is not None
    assert head.version == "0.1.2"
    ledger.record(ReleaseYanked("0.1.0", None), ChannelMoved("nightly", "0.1.2", "0.1.1", "back"), at_ms=99)
    assert [row.yanked for row in ledger.releases()] == [None, None, None]
    head = ledger.head()
    assert head is not None
    assert head.version == "0.1.1"


def test_keys_follow_each_other_and_name_one_contributor(ledger: Ledger) -> None:
    tell(ledger, ORDERS)
    keys = ledger.keys
    assert [(row.replaces, row.key, row.how) for row in keys.chain("c0")] == [
        ("c0", "c0-2", "rotated"),
        ("c0-2", "c0-3", "recovered"),
    ]
    assert [keys.contributor_of(key) for key in ("c0", "c0-2", "c0-3", "c1")] == ["c0", "c0", "c0", "c1"]
    assert (keys.key_of("c0"), keys.key_of("c1")) == ("c0-3", "c1")
    replaced = keys.replacement("c0-2")
    assert replaced is not None
    assert (replaced.key, keys.replacement("c0-3")) == ("c0-3", None)
    assert [row.key for row in keys.beginning("c0-")] == ["c0-2", "c0-3"]
    recovery = keys.recovered_by("r0")
    assert recovery is not None
    assert recovery.contributor == "c0"
    assert (keys.objected("r0"), keys.objected("r1")) == (False, True)
    assert (keys.recovery("c1"), keys.open_claim("c0"), keys.open_claim_for("thief")) == (None, None, None)


@pytest.mark.parametrize(
    "event",
    [
        OrderPlaced("1", {}),
        OrderSettled("1", False, "twice"),
        OrderSettled("9", True, "never placed"),
        ReleaseYanked("9.9.9", "no"),
        ReleasePromoted("9.9.9"),
        ReleaseWithdrawn("9.9.9"),
        UpdateReverted(digest(1), "0.1.2", "twice"),
        UpdateReverted(digest(2), "0.1.2", "it was rejected"),
        ContributorBanned("c0", 1, "twice"),
        BanLifted("c1", "twice"),
        ContributorQuarantined("c2", "twice"),
        QuarantineEnded("c3", "twice"),
        ChannelProbed("nightly", "0.1.0", "0.1.1", True, "it moved on"),
        ChannelProbed("weekly", "0.1.0", "0.1.1", True, "no such channel"),
        ModelDerived("toy-de", "0.1.0", digest(9), digest(9), 1000, "toy", "0.1.2", "listed already"),
        LeaseReleased(lease(8, contributor="c2").lease_id, "c2", 1),
        LeaseReleased(lease(8, contributor="c2").lease_id, "c0", 1),
        LeaseReleased("9" * 32, "c2", 1),
        RecoveryRegistered("c0", "r9", {}),
        RecoveryRegistered("c9", "r0", {}),
        KeyReplaced("c0", "c0-2", "c0-4", "rotated", "from a key that is not in use", {}),
        KeyReplaced("c1", "c1", "c0-2", "rotated", "to a key of another", {}),
        KeyReplaced("c1", "c1", "c0", "rotated", "to the first key of another", {}),
        KeyReplaced("c0", "c0-3", "c0", "rotated", "a cycle", {}),
        RecoveryEnded("2", "c1", True, "twice", {}),
        RecoveryEnded("9", "c1", True, "never claimed", {}),
    ],
    ids=str,
)
def test_an_order_that_does_not_fit_leaves_no_trace(ledger: Ledger, event: Event) -> None:
    tell(ledger, ORDERS)
    before = everything(ledger)
    with pytest.raises(RuntimeError):
        ledger.record(event, at_ms=99)
    assert everything(ledger) == before


def test_what_is_recorded_is_what_is_read(ledger: Ledger) -> None:
    recorded = ledger.record(*ORDERS, at_ms=5)
    assert [row.seq for row in recorded] == list(range(1, len(ORDERS) + 1))
    assert ledger.events_after(0) == recorded
    assert ledger.events_after(2, limit=3) == recorded[2:5]
    assert [asdict(row.event) for row in recorded] == [asdict(event) for event in ORDERS]
    assert {event.kind for event in ORDERS} == set(EVENTS)


def test_reopening_finds_everything_again(tmp_path: Path) -> None:
    first = fresh_ledger(tmp_path / "ledger.sqlite")
    tell(first)
    before = everything(first)
    first.close()
    again = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    assert everything(again) == before
    assert again.last_seq() == len(STORY)
    again.close()


@pytest.mark.parametrize(
    ("event", "refusal"),
    [
        (tagged("0.1.1"), TagExistsError),
        (received(1, nonce=200), ReplayedMessageError),
        (replace(received(9), lease_id=f"{1:032x}"), ReplayedMessageError),
        (lease(1, contributor="c0"), ReplayedMessageError),
        (replace(lease(1, contributor="c9"), nonce="f" * 32), RuntimeError),
        (replace(lease(9), round=99), RuntimeError),
        (replace(lease(9), nonce=f"{101:032x}"), ReplayedMessageError),
        (RunCreated("toy", BASE, {}, "k", BASE), RuntimeError),
        (RoundOpened(2, "0.1.1", BASE), RuntimeError),
        (RoundMoved(9, "merging", "no", {}), RuntimeError),
        (ChannelMoved("nightly", "0.1.0", "0.1.1"), RuntimeError),
        (ChannelMoved("nightly", None, "0.1.1"), RuntimeError),
        (ChannelMoved("stable", "0.1.0", "0.1.1"), RuntimeError),
        (UpdateMerged(digest(1), 1, "0.1.2", 1.0), RuntimeError),
        (UpdateMerged(digest(2), 1, "0.1.1", 1.0), RuntimeError),
        (UpdateChecked(digest(2), 1, [], "again"), RuntimeError),
        (UpdateRejected(digest(9), 1, "check", "never seen"), RuntimeError),
    ],
)
def test_what_happens_once_is_refused_twice_and_leaves_no_trace(
    ledger: Ledger, event: Event, refusal: type[Exception]
) -> None:
    tell(ledger)
    before = everything(ledger)
    with pytest.raises(refusal):
        ledger.record(ContributorSeen("c7", "new"), event, at_ms=99)
    assert everything(ledger) == before
    assert ledger.last_seq() == len(STORY)


def test_an_update_under_a_foreign_lease_is_refused(ledger: Ledger) -> None:
    ledger.record(RoundOpened(1, "0.1.0", BASE), lease(1), at_ms=0)
    with pytest.raises(RuntimeError, match="does not hold"):
        ledger.record(received(1, contributor="c1"), at_ms=1)
    assert ledger.updates() == []


def test_a_decision_on_old_facts_is_not_recorded(ledger: Ledger) -> None:
    seen = ledger.last_seq()
    ledger.record(ContributorSeen("c0", "Ada"), at_ms=0, expect_seq=seen)
    with pytest.raises(LedgerMovedError, match="decide again"):
        ledger.record(ContributorSeen("c1", "Bob"), at_ms=1, expect_seq=seen)
    assert len(ledger.contributors()) == 1


def test_open_leases_are_live_and_unused(ledger: Ledger) -> None:
    ledger.record(RoundOpened(1, "0.1.0", BASE), lease(1), lease(2, contributor="c1", issued=1100), at_ms=0)
    ledger.record(received(1), at_ms=1)
    assert [row.lease_id for row in ledger.open_leases(1, 1599)] == [f"{2:032x}"]
    assert ledger.open_leases(1, 1600) == []
    by_nonce = ledger.lease_by_nonce("c0", f"{1:032x}")
    assert by_nonce is not None
    assert by_nonce == ledger.lease(f"{1:032x}")
    assert by_nonce.update_digest == digest(1)
    assert ledger.lease_by_nonce("c1", f"{1:032x}") is None


def test_a_float_that_is_not_finite_is_refused(ledger: Ledger) -> None:
    ledger.record(RoundOpened(1, "0.1.0", BASE), lease(1), received(1), at_ms=0)
    with pytest.raises(ValueError, match="JSON"):
        ledger.record(UpdateChecked(digest(1), 1, [float("nan")], "no"), at_ms=1)
    assert ledger.last_seq() == 3


def test_events_cannot_be_changed_or_deleted(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    tell(ledger)
    ledger.close()
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    for statement in ("DELETE FROM events", "UPDATE events SET at_ms = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
    database.close()


def test_the_database_is_in_wal_mode_and_syncs_every_commit_where_it_is_durable(tmp_path: Path) -> None:
    shipped, quick = Ledger.open(tmp_path / "ledger.sqlite"), Ledger.open(tmp_path / "ledger.sqlite", durable=False)
    for ledger, level in ((shipped, 2), (quick, 1)):  # FULL, NORMAL
        with ledger._engine.connect() as connection:
            names = ("journal_mode", "synchronous")
            answers = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
        assert answers == ["wal", level]
        ledger.close()


def test_migrations_and_schema_agree(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "ledger.sqlite").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()


def test_a_ledger_of_the_first_schema_is_brought_along_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(path)
    tell(ledger, tuple(event for event in STORY if not isinstance(event, RoundMerged | RoundTested)))
    before = everything(ledger)
    ledger.close()
    database = sqlite3.connect(path)
    added = {
        "rounds": ("merge", "verdict"),
        "updates": ("reverted_in",),
        "releases": ("reverts", "yanked", "promoted_at_ms"),
        "channels": ("previous", "reason", "probe"),
    }
    for table, columns in added.items():
        for column in columns:
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for table in ("orders", "bans", "derived", "keys", "recoveries", "claims", "quarantines", "shares"):
        database.execute(f"DROP TABLE {table}")
    database.execute("UPDATE alembic_version SET version_num = '0001'")
    database.commit()
    database.close()
    with pytest.raises(LedgerVersionError, match="reads schema 0007"):
        Ledger.open_reading(path)
    brought = Ledger.open(path)
    found = everything(brought)
    assert {key for key in before if found[key] != before[key]} == {"releases", "channels"}  # new columns are empty
    assert [release.manifest_digest for release in found["releases"]] == [
        row.manifest_digest for row in before["releases"]
    ]
    brought.rebuild()
    assert everything(brought) == before
    brought.close()
    reading = Ledger.open_reading(path)
    assert everything(reading) == before
    with pytest.raises(StorageError, match="readonly"):
        tell(reading)
    reading.close()


def test_a_ledger_from_the_future_is_refused(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "ledger.sqlite").close()
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    with pytest.raises(LedgerVersionError, match=r"schema 9999.*upgrade"):
        Ledger.open(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("nosuchdb://localhost/x", ConfigValueError),
        ("postgresql+pg8000://localhost/x", MissingExtraError),
    ],
)
def test_a_url_that_cannot_be_served_is_refused(address: str, refusal: type[BarnraiseError]) -> None:
    with pytest.raises(refusal):
        Ledger.open(address)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, certainly not " * 100)
    with pytest.raises(StorageError, match="not a database"):
        Ledger.open(tmp_path / "ledger.sqlite")


def test_sums_of_what_contributors_state_never_overflow(ledger: Ledger) -> None:
    tell(ledger)
    before, most = ledger.pages.tally().tokens, (1 << 53) - 1
    story: list[Event] = []
    for i in range(1000, 2100):  # together more than 64 bits
        story += [lease(i, round_number=2), replace(received(i, round_number=2, nonce=10**6), tokens=most)]
    ledger.record(*story, at_ms=0)
    assert ledger.pages.tally().tokens == pytest.approx(before + 1100 * most)


def test_a_full_disk_records_nothing(ledger: Ledger) -> None:
    ledger.record(ContributorSeen("c0", "Ada"), at_ms=0)
    with ledger._engine.connect() as connection:  # the pool hands this same connection out again
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFullError, match="nothing was recorded"):
        ledger.record(RunCreated("toy", BASE, {"big": "x" * 100_000}, "k", BASE), at_ms=1)
    assert ledger.run() is None
    assert ledger.last_seq() == 1


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"])
def test_every_way_that_sqlite_finds_no_space_is_a_full_disk(ledger: Ledger, name: str) -> None:
    full = sqlite3.OperationalError("as SQLite says it")
    full.sqlite_errorname = name
    with pytest.raises(DiskFullError), writing(ledger._engine):
        raise OperationalError("INSERT", {}, full)


@settings(deadline=None, max_examples=20)
@given(order=st.lists(st.sampled_from(ORDERS), max_size=30))
def test_any_order_of_events_is_recorded_or_refused_whole_and_rebuilds(
    tmp_path_factory: pytest.TempPathFactory, order: list[Event]
) -> None:
    ledger = fresh_ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    accepted = 0
    for at_ms, event in enumerate(order):
        try:
            ledger.record(event, at_ms=at_ms)
            accepted += 1
        except (BarnraiseError, RuntimeError):
            pass
    assert ledger.last_seq() == accepted
    before = everything(ledger)
    ledger.rebuild()
    assert everything(ledger) == before
    ledger.close()
