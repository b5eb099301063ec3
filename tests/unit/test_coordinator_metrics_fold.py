"""What the ledger adds up to: the same in any portions, never less than before, and never more series than allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.metric import Readings, Spread
from coordinator.ledger import Ledger
from coordinator.ledger.events import (
    ChannelMoved,
    ContributorSeen,
    Event,
    LeaseGranted,
    LeaseReleased,
    RecordedEvent,
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
from coordinator.ledger.notice_events import NoticesBegun, NoticeSettled
from coordinator.ledger.order_events import BanLifted, ChannelProbed, ContributorBanned, ReleaseYanked, UpdateReverted
from coordinator.metrics.catalogue import CATALOGUE, MOVES
from coordinator.metrics.exporter import LedgerReader
from coordinator.metrics.fold import LIVE_MS, RunFold
from fresh_ledger import fresh_ledger

START_MS = 1_700_000_000_000
HOSTILE = ('<script>"\n', "a" * 5000, "\u202ename", "{}", "reason=x")


def digest(number: int) -> str:
    return f"b3:{number:064x}"


def tagged(version: str, parent: str | None = None, number: int = 0, **more: Any) -> ReleaseTagged:
    keyframe = {"digest": digest(1), "size_bytes": 4000} if parent is None else None
    patch = None if parent is None else {"digest": digest(2), "size_bytes": 100}
    fields = {"summary": {"loss-text": {"mean": 4.5, "unit": "bits per byte"}}} | more
    return ReleaseTagged(
        version, parent, digest(0), digest(0), number, "patch", "ok", keyframe, patch, None, START_MS, **fields
    )


@dataclass
class Story:
    """Events of a run that fit one another, drawn at random; many of them as hostile as names can be."""

    draw: Any
    events: list[Event] = field(default_factory=list)
    open: dict[str, tuple[str, int]] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)
    banned: set[str] = field(default_factory=set)
    rounds: int = 0
    releases: int = 1

    def begin(self) -> None:
        created = RunCreated("toy", digest(0), {}, "0" * 64, digest(0))
        self.events += [created, tagged("0.1.0"), ChannelMoved("nightly", None, "0.1.0")]
        self.open_round()

    def open_round(self) -> None:
        self.rounds += 1
        self.events.append(RoundOpened(self.rounds, "0.1.0", digest(0)))

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def go_on(self) -> None:
        """One more thing that may happen now."""
        can = ["arrive", "round", "test", "ban", "yank", "move"]
        can += ["check", "reject", "unmerge"] if self.in_state("received") else []
        can += ["merge", "blame"] if self.in_state("checked") else []
        can += ["revert"] if self.merged else []
        getattr(self, self.pick(*can))()

    def in_state(self, state: str) -> list[str]:
        return sorted(name for name, (now, _) in self.open.items() if now == state)

    def arrive(self) -> None:
        number, who = len(self.events), f"{self.draw(st.integers(0, 5)):064x}"
        lease, name = f"{number:032x}", digest(1000 + number)
        granted = LeaseGranted(
            lease, who, self.rounds, "0.1.0", digest(0), "text", f"{number:032x}", START_MS, START_MS + 60_000
        )
        body = {"body": {"at_ms": START_MS - self.draw(st.integers(-9000, 9000))}}
        received = UpdateReceived(name, who, lease, self.rounds, digest(0), 50, 1000, 10, body)
        self.events += [ContributorSeen(who, self.pick(*HOSTILE)), granted, received]
        self.open[name] = ("received", self.rounds)

    def check(self) -> None:
        name = self.pick(*self.in_state("received"))
        self.events.append(UpdateChecked(name, self.rounds, [1.0], "fine"))
        self.open[name] = ("checked", self.rounds)

    def reject(self) -> None:
        name = self.pick(*self.in_state("received"))
        by, evidence = self.pick(("check", {}), ("check", {"code": "truncated-update"}), ("ban", {}), (HOSTILE[0], {}))
        self.events.append(UpdateRejected(name, self.rounds, by, self.pick(*HOSTILE), evidence))
        del self.open[name]

    def blame(self) -> None:
        name = self.pick(*self.in_state("checked"))
        self.events.append(UpdateRejected(name, self.rounds, "culprit-search", "at fault"))
        del self.open[name]

    def unmerge(self) -> None:
        name = self.pick(*self.in_state("received"))
        self.events.append(UpdateUnmerged(name, self.rounds, "late", {}, self.pick("late", "", *HOSTILE)))
        del self.open[name]

    def merge(self) -> None:
        name = self.pick(*self.in_state("checked"))
        self.events.append(UpdateMerged(name, self.rounds, "0.1.0", 1.0))
        self.merged.append(name)
        del self.open[name]

    def revert(self) -> None:
        self.releases += 1
        self.events.append(UpdateReverted(self.pick(*self.merged), f"0.1.{self.releases}", "it was poison"))

    def round(self) -> None:
        outcome = self.pick("released", "rejected", "abandoned")
        for phase in ("merging", "testing", outcome):
            self.events.append(RoundMoved(self.rounds, phase, "why", {"suite_failures": 0}))
        self.open_round()

    def test(self) -> None:
        row = {"effect": 0.1, "low": 0.0, "high": 0.2, "passed": True, "unit": self.pick(*HOSTILE)}
        draws = {"tests": {"loss-text": {"size": 100, "spent": [1, 2], "places": [3, 4, 5]}}}
        name = self.pick("loss-text", *HOSTILE)
        self.events.append(RoundTested(self.rounds, True, "ok", {name: row}, draws, "", 1500))

    def ban(self) -> None:
        who = f"{self.draw(st.integers(0, 5)):064x}"
        self.events.append(BanLifted(who, "") if who in self.banned else ContributorBanned(who, 0, "spam"))
        self.banned ^= {who}

    def yank(self) -> None:
        self.events.append(ReleaseYanked("0.1.0", self.pick(None, "broken")))

    def move(self) -> None:
        at = next(event.new for event in reversed(self.events) if isinstance(event, ChannelMoved))
        self.events.append(ChannelMoved("nightly", at, at))
        self.events.append(ChannelProbed("nightly", at, at, self.pick(True, False), "compared"))


@st.composite
def stories(draw: Any) -> list[Event]:
    story = Story(draw)
    story.begin()
    for _ in range(draw(st.integers(0, 25))):
        story.go_on()
    return story.events


def folded(events: list[Event]) -> RunFold:
    fold = RunFold()
    for seq, event in enumerate(events, start=1):
        fold.take(RecordedEvent(seq, START_MS + seq, event))
    return fold


def plain(readings: Readings) -> dict[str, dict[tuple[str, ...], Any]]:
    """Readings as values that can be compared."""
    return {
        name: {
            labels: (tuple(value.counts), value.total) if isinstance(value, Spread) else value
            for labels, value in readings.of(name).items()
        }
        for name in readings
    }


# -- laws ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@given(stories(), st.lists(st.integers(0, 60), max_size=4))
def test_it_is_what_the_tables_say_in_whatever_portions_it_was_read(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], portions: list[int]
) -> None:
    ledger = fresh_ledger(tmp_path_factory.mktemp("run") / "ledger.sqlite")
    reader = LedgerReader(ledger)
    for end in sorted({min(end, len(events)) for end in portions} | {len(events)}):
        rest = events[ledger.last_seq() : end]
        if rest:
            ledger.record(*rest, at_ms=START_MS)
        found, _ = reader.read(START_MS)
    assert plain(found) == plain(LedgerReader(ledger).read(START_MS)[0])
    tally = ledger.pages.tally()
    updates = {state: value for (state,), value in found.of("barnraise_updates").items() if value}
    assert updates == tally.updates
    assert found.of("barnraise_update_received_bytes_total") == {(): tally.received_bytes}
    assert found.of("barnraise_update_tokens_total") == {(): tally.tokens}
    assert found.of("barnraise_leases_total") == {(): tally.leases}
    assert found.of("barnraise_contributors") == {(): tally.contributors}
    assert found.of("barnraise_contributors_banned") == {(): len(ledger.bans())}
    ended = {phase: count for phase, count in tally.rounds.items() if phase != "collecting"}
    rounds = {outcome: value for (outcome,), value in found.of("barnraise_rounds_total").items() if value}
    assert rounds == ended
    assert found.of("barnraise_ledger_events_total") == {(): ledger.last_seq()}
    ledger.close()


@settings(deadline=None, max_examples=40)
@given(stories())
def test_counters_never_go_backwards(events: list[Event]) -> None:
    counters = {metric.name for metric in CATALOGUE if metric.kind == "counter"}
    before: dict[str, dict[tuple[str, ...], Any]] = {}
    fold = RunFold()
    for seq, event in enumerate(events, start=1):
        fold.take(RecordedEvent(seq, START_MS + seq, event))
        now = {name: series for name, series in plain(fold.readings(START_MS)).items() if name in counters}
        for name, series in before.items():
            for labels, value in series.items():
                assert now[name][labels] >= value, (name, labels)
        before = now


@settings(deadline=None, max_examples=40)
@given(stories())
def test_only_what_is_in_the_catalogue_and_never_more_series_than_it_allows(events: list[Event]) -> None:
    allowed = {metric.name: metric for metric in CATALOGUE if metric.source == "ledger"}
    found = folded(events).readings(START_MS)
    for name in found:
        assert len(found.of(name)) <= allowed[name].at_most, name
        assert all(len(labels) == len(allowed[name].labels) for labels in found.of(name)), name


def test_a_thousand_names_are_sixty_four_series_and_the_rest() -> None:
    rows = [RoundTested(1, True, "", {f"test-{n}": {"passed": n % 2 == 0}}) for n in range(1000)]
    moves = [ChannelMoved(f"channel-{n}", None, f"0.{n}.0") for n in range(1000)]
    found = folded([*rows, *moves]).readings(START_MS)
    for name in ("barnraise_test_verdicts_total", "barnraise_channel_moves_total", "barnraise_channel_info"):
        labels = {series[0] for series in found.of(name)}
        assert len(labels) == 65
        assert "other" in labels
    verdicts = found.of("barnraise_test_verdicts_total")
    assert sum(value for value in verdicts.values() if not isinstance(value, Spread)) == 1000


# -- examples ------------------------------------------------------------------------------


def test_reasons_are_words_of_a_list() -> None:
    rejected = [
        UpdateRejected(digest(1), 1, "check", "13% worse", {"change": 0.9}),
        UpdateRejected(digest(2), 1, "check", "cut off", {"code": "truncated-update"}),
        UpdateRejected(digest(3), 1, "culprit-search", "at fault"),
        UpdateRejected(digest(4), 1, "ban", "banned"),
        UpdateRejected(digest(5), 1, "an oracle", "said so"),
    ]
    unmerged = [UpdateUnmerged(digest(6), 1, "late", code="late"), UpdateUnmerged(digest(7), 1, "of long ago")]
    moves = folded([*rejected, *unmerged]).readings(START_MS).of("barnraise_update_moves_total")
    assert set(moves) == set(MOVES)
    assert {labels for labels, count in moves.items() if count == 1} == {
        ("rejected", "harmful"),
        ("rejected", "malformed"),
        ("rejected", "culprit"),
        ("rejected", "banned"),
        ("rejected", "other"),
        ("unmerged", "late"),
        ("unmerged", "other"),
    }


def test_phases_last_from_one_move_to_the_next() -> None:
    fold = RunFold()
    story: list[tuple[int, Event]] = [
        (0, RoundOpened(1, "0.1.0", digest(0))),
        (50_000, RoundMoved(1, "merging", "enough", {})),
        (52_000, RoundMerged(1, "merged", {}, took_ms=1500)),
        (52_000, RoundMoved(1, "testing", "merged", {})),
        (60_000, RoundMoved(1, "testing", "again in 1 min", {"suite_failures": 1})),
        (90_000, RoundTested(1, True, "ok", {}, took_ms=20_000)),
        (90_000, RoundMoved(1, "released", "tagged", {"suite_failures": 0})),
    ]
    for seq, (at_ms, event) in enumerate(story, start=1):
        fold.take(RecordedEvent(seq, START_MS + at_ms, event))
        if at_ms == 60_000:
            assert fold.readings(START_MS).of("barnraise_suite_failures") == {(): 1}
    found = plain(fold.readings(START_MS + 100_000))
    totals = {labels[0]: value[1] for labels, value in found["barnraise_round_phase_duration_seconds"].items()}
    assert totals == {"collecting": 50.0, "merging": 2.0, "testing": 38.0}
    assert found["barnraise_merge_seconds"][()][1] == 1.5
    assert found["barnraise_test_seconds"][()][1] == 20.0
    assert found["barnraise_round_phase_age_seconds"] == {(): 10.0}
    assert found["barnraise_rounds_in_a_row"]["released",] == 1


def test_who_is_live_and_how_wrong_clocks_are() -> None:
    fold, ada, bob = RunFold(), "a" * 64, "b" * 64
    for seq, (who, at_ms, signed_ms) in enumerate([(ada, 0, -2000), (bob, LIVE_MS, LIVE_MS + 500_000)], start=1):
        body = {"body": {"at_ms": START_MS + signed_ms}}
        received = UpdateReceived(digest(seq), who, f"{seq:032x}", 1, digest(0), 10, 1, 1, body)
        fold.take(RecordedEvent(seq, START_MS + at_ms, received))
    both = fold.readings(START_MS + LIVE_MS - 1)
    assert both.of("barnraise_contributors_live") == {(): 2}
    clocks = {labels[0]: value for labels, value in both.of("barnraise_contributor_clock_offset_seconds").items()}
    assert clocks == {"min": -500.0, "median": 2.0, "max": 2.0}
    assert fold.readings(START_MS + LIVE_MS).of("barnraise_contributors_live") == {(): 1}


def test_one_who_gives_most_is_seen() -> None:
    events: list[Event] = []
    for number, who in enumerate(["a", "a", "a", "b"]):
        received = UpdateReceived(digest(number), who * 64, f"{number:032x}", 1, digest(0), 10, 1, 1, {})
        events += [
            received,
            UpdateChecked(digest(number), 1, [], ""),
            UpdateMerged(digest(number), 1, "0.1.1", 1.0),
        ]
    assert folded(events).readings(START_MS).of("barnraise_contributor_share_max_ratio") == {(): 0.75}


def test_what_dense_would_have_cost() -> None:
    received = UpdateReceived(digest(1), "a" * 64, "0" * 32, 1, digest(0), 50, 1, 1, {})
    found = folded([tagged("0.1.0"), received, received, tagged("0.1.1", "0.1.0", 1)]).readings(START_MS)
    assert found.of("barnraise_update_dense_bytes_total") == {(): 8000}
    assert found.of("barnraise_update_received_bytes_total") == {(): 100}
    assert found.of("barnraise_release_patch_bytes_total") == {(): 100}
    assert found.of("barnraise_release_dense_bytes_total") == {(): 4000}


def test_growth_is_that_of_the_last_day() -> None:
    fold = RunFold()
    for seq, hours in enumerate([0, 1, 23, 25], start=1):
        received = UpdateReceived(digest(seq), "a" * 64, f"{seq:032x}", 1, digest(0), 86_400, 1, 1, {})
        fold.take(RecordedEvent(seq, START_MS + hours * 3_600_000, received))
    assert fold.growth_bytes_per_s(START_MS + 25 * 3_600_000) == 2.0
    assert fold.growth_bytes_per_s(START_MS + 60 * 3_600_000) == 0.0


# -- the ledger is away --------------------------------------------------------------------


def test_a_ledger_too_long_for_one_scrape_shows_no_counter_that_is_too_low(tmp_path: Path) -> None:
    ledger = fresh_ledger(tmp_path / "ledger.sqlite")
    ledger.record(*(ContributorSeen(f"{n:064x}", "x") for n in range(1200)), at_ms=START_MS)
    ticks = iter(range(0, 1000, 2))
    reader = LedgerReader(ledger, tick_s=lambda: float(next(ticks)))
    first, _ = reader.read(START_MS)
    assert first.of("barnraise_ledger_unread_events") == {(): 700}
    assert not first.of("barnraise_contributors")
    reader.read(START_MS)
    last, _ = reader.read(START_MS)
    assert last.of("barnraise_ledger_unread_events") == {(): 0}
    assert last.of("barnraise_contributors") == {(): 1200}
    ledger.close()


def test_a_ledger_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = fresh_ledger(path)
    reader = LedgerReader(ledger)
    ledger.close()
    path.write_bytes(b"no ledger" * 1000)
    found, growth = reader.read(START_MS)
    assert found.of("barnraise_ledger_readable") == {(): 0}
    assert growth == 0.0
    again = Ledger.open(tmp_path / "other.sqlite")
    assert LedgerReader(again).read(START_MS)[0].of("barnraise_ledger_readable") == {(): 1}
    again.close()


def test_an_update_that_was_reverted_twice_was_merged_once() -> None:
    received = UpdateReceived(digest(1), "a" * 64, "0" * 32, 1, digest(0), 10, 1, 1, {})
    merged = [received, UpdateChecked(digest(1), 1, [], ""), UpdateMerged(digest(1), 1, "0.1.1", 1.0)]
    reverted = [UpdateReverted(digest(1), version, "poison") for version in ("0.1.2", "0.1.3")]
    found = folded([*merged, *merged_again(), *reverted]).readings(START_MS).of("barnraise_updates")
    assert (found["merged",], found["reverted",]) == (1, 1)


def merged_again() -> list[Event]:
    """Another update, which stays."""
    received = UpdateReceived(digest(2), "b" * 64, "1" * 32, 1, digest(0), 10, 1, 1, {})
    return [received, UpdateChecked(digest(2), 1, [], ""), UpdateMerged(digest(2), 1, "0.1.1", 1.0)]


def test_notifications_are_counted_from_nothing() -> None:
    begun = NoticesBegun("ops", 0)
    assert folded([begun]).readings(START_MS).of("barnraise_notifications_total") == {
        ("ops", "delivered"): 0,
        ("ops", "given-up"): 0,
    }
    settled = [NoticeSettled("ops", seq, "msg", seq > 1, 1, "why", seq) for seq in (1, 2, 3)]
    counts = folded([begun, *settled]).readings(START_MS).of("barnraise_notifications_total")
    assert counts == {("ops", "delivered"): 2, ("ops", "given-up"): 1}


def test_a_lease_that_was_given_back_is_open_no_more() -> None:
    granted = LeaseGranted("1" * 32, "a" * 64, 1, "0.1.0", digest(0), "text", "0" * 32, START_MS, START_MS + 60_000)
    assert folded([granted]).readings(START_MS).of("barnraise_leases_open") == {(): 1}
    back = LeaseReleased("1" * 32, "a" * 64, 1)
    assert folded([granted, back]).readings(START_MS).of("barnraise_leases_open") == {(): 0}
