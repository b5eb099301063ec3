"""The first page: what the model is, whether it gets better, what goes on now, and what it costs to take part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnraise.config import RunConfig
from barnraise.narrate import narrate
from barnraise.releases.manifest import Manifest
from coordinator.admission import AdmissionPolicy, collecting_ends_ms
from coordinator.ledger import ChannelRow, LeaseRow, ReleaseRow, RoundRow, Tally, UpdateRow
from coordinator.ledger.events import RecordedEvent
from coordinator.ledger.page_reads import Counted
from coordinator.round import FINAL

__all__ = [
    "Happening",
    "LeaseView",
    "ModelView",
    "NewestView",
    "RoundNow",
    "Traffic",
    "happenings",
    "lease_views",
    "model_view",
    "newest_view",
    "round_now",
    "traffic",
]

FLOAT_BYTES = 4
PHASES = ("collecting", "merging", "testing", "released")
LEASES_SHOWN = 100
LATELY = 8
QUIET = frozenset(
    {"round-moved", "round-merged", "order-placed", "update-checked", "lease-granted", "contributor-seen"}
)


@dataclass(frozen=True, slots=True)
class ModelView:
    """What the model is; ``parameters`` is None until there is a release to count them in."""

    name: str
    description: str
    licence: str
    architecture: str
    parameters: int | None
    task: str


def model_view(config: RunConfig, manifest: Manifest | None) -> ModelView:
    """From the configuration, and the newest release's manifest where it can be read."""
    return ModelView(
        name=config.name,
        description=config.description,
        licence=config.licence,
        architecture=config.model.architecture,
        parameters=manifest.space.size if manifest is not None else None,
        task=config.data.corpus,
    )


@dataclass(frozen=True, slots=True)
class NewestView:
    """The newest release, with the lines that pull it and that join the run."""

    version: str
    at_ms: int
    reason: str
    channels: tuple[str, ...]
    yanked: str | None
    patch_bytes: int | None
    pull: str


def newest_view(row: ReleaseRow, channels: Iterable[ChannelRow], name: str, url: str) -> NewestView:
    """The newest release, and how to have it.

    Args:
        url: where this run is reached from outside.
    """
    return NewestView(
        version=row.version,
        at_ms=row.created_at_ms,
        reason=row.reason,
        channels=tuple(channel.channel for channel in channels if channel.version == row.version),
        yanked=row.yanked,
        patch_bytes=row.patch["size_bytes"] if row.patch else None,
        pull=f"barnraise pull {name}@{row.version} --from {url} --into ./{name}",
    )


@dataclass(frozen=True, slots=True)
class LeaseView:
    """Somebody's part in the round: ``state`` is training, delivered, expired, or the update's own."""

    contributor: str
    name: str
    shard: str
    state: str
    reason: str
    until_ms: int
    update: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class RoundNow:
    """The newest round.

    Attributes:
        ends_ms: when collecting ends at the latest; None where that is not decided, or it has ended.
        passed: phases that lie behind it.
        waits: whether it needs more updates before it may merge; ``needs`` of them.
    """

    number: int
    phase: str
    reason: str
    base_version: str
    opened_at_ms: int
    moved_at_ms: int
    ends_ms: int | None
    passed: tuple[str, ...]
    leases: tuple[LeaseView, ...]
    training: int
    delivered: int
    target: int

    @property
    def is_over(self) -> bool:
        return self.phase in FINAL


def lease_views(
    leases: Sequence[LeaseRow], updates: Iterable[UpdateRow], names: Mapping[str, str], now_ms: int
) -> tuple[LeaseView, ...]:
    """The newest leases of a round, newest first."""
    by_digest = {update.digest: update for update in updates}
    return tuple(_lease(lease, by_digest, names, now_ms) for lease in reversed(leases[-LEASES_SHOWN:]))


def _lease(lease: LeaseRow, updates: Mapping[str, UpdateRow], names: Mapping[str, str], now_ms: int) -> LeaseView:
    update = updates.get(lease.update_digest or "")
    waiting = "training" if now_ms < lease.expires_at_ms else "expired"
    return LeaseView(
        contributor=lease.contributor,
        name=names.get(lease.contributor, ""),
        shard=lease.shard,
        state=update.state if update else waiting,
        reason=update.reason if update else "",
        until_ms=lease.expires_at_ms,
        update=update.digest if update else None,
        size_bytes=update.size_bytes if update else None,
    )


def round_now(row: RoundRow, leases: tuple[LeaseView, ...], config: RunConfig, now_ms: int) -> RoundNow:
    """The round, who has a lease and who has delivered, and the time left."""
    collecting = row.phase == "collecting" and row.first_lease_at_ms is not None
    ends_ms = collecting_ends_ms(row.first_lease_at_ms, now_ms, AdmissionPolicy.of(config).collect_for_ms)
    reached = PHASES.index(row.phase) if row.phase in PHASES else len(PHASES) - 1
    return RoundNow(
        number=row.number,
        phase=row.phase,
        reason=row.reason,
        base_version=row.base_version,
        opened_at_ms=row.opened_at_ms,
        moved_at_ms=row.moved_at_ms,
        ends_ms=ends_ms if collecting else None,
        passed=PHASES[:reached] if row.phase in PHASES else (),
        leases=leases,
        training=sum(lease.state == "training" for lease in leases),
        delivered=sum(lease.update is not None for lease in leases),
        target=config.round.target_updates,
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes against what exchanging whole models in float32 would cost; None of what cannot be known yet.

    Attributes:
        up_bytes: of all updates. down_bytes: of the patches, for who follows every release.
        updates, patches: how many of them.
        dense_bytes: of one whole model.
    """

    up_bytes: int
    updates: int
    down_bytes: int
    patches: int
    dense_bytes: int | None

    @property
    def up_dense_bytes(self) -> int | None:
        return self.updates * self.dense_bytes if self.dense_bytes and self.updates else None

    @property
    def down_dense_bytes(self) -> int | None:
        return self.patches * self.dense_bytes if self.dense_bytes and self.patches else None

    @property
    def up_times(self) -> float | None:
        return self.up_dense_bytes / self.up_bytes if self.up_dense_bytes and self.up_bytes else None

    @property
    def down_times(self) -> float | None:
        return self.down_dense_bytes / self.down_bytes if self.down_dense_bytes and self.down_bytes else None


def traffic(tally: Tally, patches: Counted, parameters: int | None) -> Traffic:
    """Bytes so far, against whole models.

    Args:
        patches: how many, and their bytes. parameters: of the model, None while unknown.
    """
    return Traffic(
        up_bytes=tally.received_bytes,
        updates=sum(tally.updates.values()),
        down_bytes=patches.size_bytes,
        patches=patches.updates,
        dense_bytes=FLOAT_BYTES * parameters if parameters else None,
    )


@dataclass(frozen=True, slots=True)
class Happening:
    """An event in words; ``tone`` is good, bad or plain."""

    seq: int
    at_ms: int
    words: str
    tone: str


def happenings(events: Iterable[RecordedEvent], names: Mapping[str, str], most: int = LATELY) -> tuple[Happening, ...]:
    """The newest events that somebody wants to watch, newest first."""
    told: list[Happening] = []
    for recorded in reversed(list(events)):
        kind, payload = recorded.event.kind, recorded.as_json()["payload"]
        words = "" if kind in QUIET else narrate(kind, payload, names)
        if words and len(told) < most:
            told.append(Happening(recorded.seq, recorded.at_ms, words, _tone(kind, payload)))
    return tuple(told)


def _tone(kind: str, payload: Mapping[str, Any]) -> str:
    if kind in ("release-tagged", "release-promoted"):
        return "good"
    bad = kind in ("update-rejected", "release-yanked", "contributor-banned") and payload.get("reason") is not None
    return "bad" if bad else "plain"
