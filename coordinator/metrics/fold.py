"""What the ledger's events add up to, taken in one by one.

A fold of the same events is the same numbers, in whatever portions they come and however often the
process began anew: so counters survive a restart, and a scrape costs what is new since the last one.

What is kept is bounded: open updates and rounds, one number a contributor, and what is shown.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from barnraise.metric import Readings
from coordinator.ledger.events import (
    ChannelMoved,
    ContributorSeen,
    LeaseGranted,
    LeaseReleased,
    RecordedEvent,
    ReleaseTagged,
    RoundMerged,
    RoundMoved,
    RoundOpened,
    RoundTested,
    UpdateChecked,
    UpdateMerged,
    UpdateReceived,
    UpdateRejected,
    UpdateUnmerged,
)
from coordinator.ledger.notice_events import NoticesBegun, NoticeSettled
from coordinator.ledger.order_events import (
    BanLifted,
    ChannelProbed,
    ContributorBanned,
    OrderPlaced,
    OrderSettled,
    ReleaseYanked,
    UpdateReverted,
)
from coordinator.metrics.catalogue import NAMES_MAX
from coordinator.metrics.rounds import RoundsFold
from coordinator.metrics.updates import UpdatesFold

__all__ = ["LIVE_MS", "RunFold"]

LIVE_MS = 3_600_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
BUMPS = ("first", "patch", "minor", "major")
PLAIN = (
    "leases",
    "update_received_bytes",
    "update_dense_bytes",
    "update_tokens",
    "update_steps",
    "release_patch_bytes",
    "release_dense_bytes",
)
"""Counters without labels."""


class _Names:
    """The first names that come, and ``other`` for all that come after."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        if name not in self._known and len(self._known) >= NAMES_MAX:
            return "other"
        self._known.add(name)
        return name


class RunFold:
    """The numbers of one run.

    Attributes:
        seq: the last event that was taken in.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._dense_bytes = 0  # of the newest keyframe: the model in float32, and a small header
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._names = {what: _Names() for what in ("test", "channel", "target")}
        self._rounds = RoundsFold()
        self._updates = UpdatesFold()
        self._seen_ms: dict[str, int] = {}
        self._offset_s: dict[str, float] = {}
        self._banned: set[str] = set()
        self._leases: dict[str, int] = {}  # lease -> when it expires
        self._orders: set[str] = set()
        self._yanked: set[str] = set()
        self._targets: set[str] = set()
        self._channels: dict[str, str] = {}
        self._newest: ReleaseTagged | None = None
        self._tested: RoundTested | None = None
        self._grown: deque[list[int]] = deque()  # (hour, bytes) of the last day

    def take(self, recorded: RecordedEvent) -> None:
        """Take in the next event."""
        self.seq, at_ms, event = recorded.seq, recorded.at_ms, recorded.event
        match event:
            case ContributorSeen(contributor):
                self._seen_ms.setdefault(contributor, 0)
            case LeaseGranted():
                self._counts["leases",] += 1
                self._seen_ms[event.contributor] = at_ms
                self._leases[event.lease_id] = event.expires_at_ms
                self._forget_leases(at_ms)
            case LeaseReleased(lease_id):
                self._leases.pop(lease_id, None)
            case UpdateReceived():
                self._received(event, at_ms)
            case UpdateChecked() | UpdateRejected() | UpdateMerged() | UpdateUnmerged() | UpdateReverted():
                self._updates.move(event, at_ms)
            case RoundOpened() | RoundMoved() | RoundMerged():
                self._rounds.take(event, at_ms)
            case RoundTested():
                self._rounds.take(event, at_ms)
                self._judged(event)
            case ReleaseTagged():
                self._released(event, at_ms)
            case ChannelMoved(channel, _, new):
                channel = self._names["channel"](channel)
                self._counts["channel_moves", channel] += 1
                self._channels[channel] = new
            case _:
                self._take_order(event)

    def _take_order(self, event: Any) -> None:
        match event:
            case OrderPlaced(order_id):
                self._orders.add(order_id)
            case OrderSettled(order_id, done):
                self._orders.discard(order_id)
                self._counts["orders", "done" if done else "refused"] += 1
            case ReleaseYanked(version, reason):
                (self._yanked.discard if reason is None else self._yanked.add)(version)
            case ContributorBanned(contributor):
                self._banned.add(contributor)
            case BanLifted(contributor):
                self._banned.discard(contributor)
            case ChannelProbed():
                channel = self._names["channel"](event.channel)
                self._counts["channel_probes", channel, _yes(event.passed)] += 1
            case NoticesBegun(target):
                self._targets.add(self._names["target"](target))
            case NoticeSettled():
                outcome = "delivered" if event.delivered else "given-up"
                self._counts["notifications", self._names["target"](event.target), outcome] += 1
            case _:
                pass  # what nobody measures

    def _received(self, event: UpdateReceived, at_ms: int) -> None:
        self._counts["update_received_bytes",] += event.size_bytes
        self._counts["update_dense_bytes",] += self._dense_bytes
        self._counts["update_tokens",] += event.tokens
        self._counts["update_steps",] += event.steps
        self._seen_ms |= dict.fromkeys(event.contributors, at_ms)
        for lease_id in (event.lease_id, *(share["lease_id"] for share in event.team)):
            self._leases.pop(lease_id, None)
        self._grow(at_ms, event.size_bytes)
        body = event.envelope.get("body")
        signed_ms = body.get("at_ms") if isinstance(body, dict) else None
        if isinstance(signed_ms, int):
            self._offset_s[event.contributor] = (at_ms - signed_ms) / 1000
        self._updates.receive(event, at_ms)

    def _judged(self, event: RoundTested) -> None:
        self._tested = event
        self._counts["candidates_tested", _yes(event.passed)] += 1
        for test, row in event.summary.items():
            name = self._names["test"](test)
            self._counts["test_verdicts", name, _yes(bool(row.get("passed", True)))] += 1
            for passed in ("yes", "no"):  # there before the first one, so that an increase can be seen
                self._counts["test_verdicts", name, passed] += 0

    def _released(self, event: ReleaseTagged, at_ms: int) -> None:
        self._newest = event
        if event.keyframe is not None:
            self._dense_bytes = int(event.keyframe["size_bytes"])
        self._counts["releases", event.bump if event.bump in BUMPS else "other"] += 1
        if event.patch is not None:
            self._counts["release_patch_bytes",] += int(event.patch["size_bytes"])
            self._counts["release_dense_bytes",] += self._dense_bytes
        stored = sum(int(blob["size_bytes"]) for blob in (event.keyframe, event.patch) if blob is not None)
        self._grow(at_ms, stored)

    def _grow(self, at_ms: int, size_bytes: int) -> None:
        hour = at_ms // HOUR_MS
        if not self._grown or self._grown[-1][0] < hour:
            self._grown.append([hour, 0])
        self._grown[-1][1] += size_bytes
        while self._grown[0][0] <= hour - 24:
            self._grown.popleft()

    def _forget_leases(self, now_ms: int) -> None:
        if len(self._leases) > 1000:
            self._leases = {lease: ends_ms for lease, ends_ms in self._leases.items() if ends_ms > now_ms}

    # -- reading --------------------------------------------------------------------------

    def growth_bytes_per_s(self, now_ms: int) -> float:
        """Bytes of updates and releases that came in the last day, a second."""
        hour = now_ms // HOUR_MS
        return sum(size for at, size in self._grown if at > hour - 24) / (DAY_MS / 1000)

    def readings(self, now_ms: int) -> Readings:
        """All metrics that come from the ledger, as of ``now_ms``."""
        found = Readings()
        found.put("barnraise_ledger_events_total", self.seq)
        for name in PLAIN:
            found.put(f"barnraise_{name}_total", self._counts[name,])
        for (name, *labels), count in self._counts.items():
            if labels:
                found.put(f"barnraise_{name}_total", count, *labels)
        for outcome in ("done", "refused"):
            found.put("barnraise_orders_total", self._counts["orders", outcome], outcome)
        for target in self._targets:
            for outcome in ("delivered", "given-up"):
                count = self._counts["notifications", target, outcome]
                found.put("barnraise_notifications_total", count, target, outcome)
        for passed in ("yes", "no"):
            found.put("barnraise_candidates_tested_total", self._counts["candidates_tested", passed], passed)
        self._rounds.tell(found, now_ms)
        self._updates.tell(found)
        self._tell_contributors(found, now_ms)
        self._tell_releases(found)
        self._tell_tests(found)
        return found

    def _tell_contributors(self, found: Readings, now_ms: int) -> None:
        live = [key for key, at in self._seen_ms.items() if now_ms - at < LIVE_MS]
        leases_open = sum(ends_ms > now_ms for ends_ms in self._leases.values())
        found.put("barnraise_leases_open", leases_open)
        found.put("barnraise_contributors", len(self._seen_ms))
        found.put("barnraise_contributors_live", len(live))
        found.put("barnraise_contributors_banned", len(self._banned))
        found.put("barnraise_orders_waiting", len(self._orders))
        offsets = sorted(self._offset_s[key] for key in live if key in self._offset_s)
        if offsets:
            ends = {"min": offsets[0], "median": offsets[len(offsets) // 2], "max": offsets[-1]}
            for stat, offset_s in ends.items():
                found.put("barnraise_contributor_clock_offset_seconds", offset_s, stat)

    def _tell_releases(self, found: Readings) -> None:
        found.put("barnraise_releases_yanked", len(self._yanked))
        for channel, version in self._channels.items():
            found.put("barnraise_channel_info", 1, channel, version)
        for channel in self._channels:
            for passed in ("yes", "no"):  # there before the first one, so that an increase can be seen
                count = self._counts["channel_probes", channel, passed]
                found.put("barnraise_channel_probes_total", count, channel, passed)
        newest = self._newest
        if newest is None:
            return
        found.put("barnraise_release_info", 1, newest.version, newest.bump)
        found.put("barnraise_release_created_timestamp_seconds", newest.created_at_ms / 1000)
        for test, row in list(newest.summary.items())[:NAMES_MAX]:
            if "mean" in row:
                found.put("barnraise_test_mean", float(row["mean"]), test, str(row.get("unit", "")))

    def _tell_tests(self, found: Readings) -> None:
        tested = self._tested
        if tested is None:
            return
        for test, row in list(tested.summary.items())[:NAMES_MAX]:
            for bound in ("effect", "low", "high"):
                value = row.get(bound)
                if isinstance(value, int | float):
                    found.put("barnraise_test_effect", value, test, str(row.get("unit", "")), bound)
        drawn: Mapping[str, Any] = tested.draws.get("tests", {})
        for test, row in list(drawn.items())[:NAMES_MAX]:
            found.put("barnraise_test_hidden_left", row["size"] - len(row["spent"]), test)
            found.put("barnraise_test_hidden_wanted", len(row["places"]), test)


def _yes(passed: bool) -> str:
    return "yes" if passed else "no"
