"""A coordinator that moved: which beacon to believe, where to look, and whether it is the same. Pure.

A beacon is a hint. It counts when the run's coordinator, whose key the node has known since it joined, has signed it
and its hour is not over; and what it points to counts when it answers as that run, with that key and that root.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barnraise.errors import MessageError
from barnraise.protocol import RunInfo
from barnraise.swarm.records import Beacon, open_beacon

__all__ = ["Chosen", "Heard", "Tried", "choose", "is_another", "newest_beacon", "to_try"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the swarm said when it was asked for the beacon.

    Attributes:
        beacon: the newest that holds; None where none does.
        refused: why each of the others does not count.
    """

    beacon: Beacon | None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a gateway that the beacon names: ``fault`` is "" where it is the run's."""

    url: str
    fault: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Where to go on.

    Attributes:
        url: None for nowhere else.
        reason: in one sentence, with the numbers. kind: what of it is not a matter of time.
    """

    url: str | None
    reason: str
    kind: str


def newest_beacon(records: Iterable[str], info: RunInfo, now_ms: int, seen_at_ms: int = 0) -> Heard:
    """The newest of those that hold.

    Args:
        records: as they were found.
        seen_at_ms: when the newest was signed that this node has ever seen; an older one is a replay.
    """
    beacons: list[Beacon] = []
    refused: list[str] = []
    for record in records:
        try:
            beacon = open_beacon(record.encode(), info.name, info.coordinator_key, now_ms)
        except MessageError as error:
            refused.append(str(error))
            continue
        if beacon.at_ms < seen_at_ms:
            refused.append(f"a beacon {(seen_at_ms - beacon.at_ms) / 1000:,.0f} s older than one that was seen before")
        else:
            beacons.append(beacon)
    newest = max(beacons, key=lambda beacon: beacon.at_ms, default=None)
    return Heard(newest, tuple(refused))


def to_try(beacon: Beacon, url: str) -> tuple[str, ...]:
    """The gateways to ask, in the beacon's order: all that it names but the one that is silent."""
    return tuple(dict.fromkeys(gateway for gateway in beacon.gateways if gateway != url))


def is_another(found: RunInfo, info: RunInfo) -> str:
    """Why what answers is not the run that the node works for; "" where it is."""
    if found.name != info.name:
        return f"it is the run {found.name[:64]!a}"
    if found.coordinator_key != info.coordinator_key:
        return f"its coordinator is {found.coordinator_key[:16]}.., this run's is {info.coordinator_key[:16]}.."
    if found.root_digest != info.root_digest:
        return "its releases begin with another root"
    return ""


def choose(heard: Heard, tried: Iterable[Tried], url: str, silent_s: float, now_ms: int) -> Chosen:
    """Where to go on, and why.

    Args:
        tried: gateways that the beacon names, asked one by one until one is the run's.
        url: that is silent, for ``silent_s``.
    """
    silent = f"{url} has been silent for {silent_s:.0f} s"
    if heard.beacon is None:
        count, first = len(heard.refused), next(iter(heard.refused), "")
        because = f"the swarm has {count} beacons that do not hold: {first}" if count else "the swarm has no beacon"
        return Chosen(None, f"{silent}, and {because}; waiting for it", "none holds" if count else "none")
    age_s = max(0, now_ms - heard.beacon.at_ms) // 1000
    faults = []
    for one in tried:
        if not one.fault:
            reason = f"{silent}; its beacon of {age_s} s ago names {one.url}, which answers as the same run"
            return Chosen(one.url, reason, one.url)
        faults.append(f"{one.url} does not count, for {one.fault}")
    because = f"does not help: {'; '.join(faults)}" if faults else "still names it"
    return Chosen(None, f"{silent}, and its beacon of {age_s} s ago {because}; waiting for it", because)
