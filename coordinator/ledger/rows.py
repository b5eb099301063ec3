"""What the ledger answers: one frozen dataclass a table, fields named like its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BanRow",
    "ChannelRow",
    "ContributionRow",
    "ContributorRow",
    "DerivedRow",
    "LeaseRow",
    "OrderRow",
    "QuarantineRow",
    "ReleaseRow",
    "RoundRow",
    "RunRow",
    "Tally",
    "UpdateRow",
]


@dataclass(frozen=True, slots=True)
class RunRow:
    """The run. ``config`` is the whole resolved configuration."""

    name: str
    config_digest: str
    config: dict[str, Any]
    coordinator_key: str
    held_out_digest: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class ContributorRow:
    """Who has asked for work: a public key and the name last used with it."""

    contributor: str
    name: str
    first_seen_at_ms: int


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """What of an update is needed to say what a contributor did whose work is in it.

    Attributes:
        tokens, steps: this contributor's own. The others are the update's, as in :class:`UpdateRow`.
    """

    digest: str
    contributor: str
    round: int
    size_bytes: int
    tokens: int
    steps: int
    state: str
    reason: str
    version: str | None
    evidence: dict[str, Any]
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class RoundRow:
    """A round as it stands.

    Attributes:
        phase: one of ``barnraise.protocol.Phase``.
        moved_at_ms: when it was opened or last moved.
        first_lease_at_ms: when its collecting deadline began to run; None without a lease.
        state: the conductor's state machine as of the last move, {} before the first one.
        merge, verdict: the record of its newest merge, and what the tests said; None before.
    """

    number: int
    phase: str
    reason: str
    base_version: str
    base_digest: str
    opened_at_ms: int
    moved_at_ms: int
    first_lease_at_ms: int | None
    state: dict[str, Any]
    merge: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None

    @property
    def recognised(self) -> Mapping[str, Mapping[str, Any]]:
        """Update -> what its newest merge recognised of it, label and reason; of most there is nothing to say."""
        return (self.merge or {}).get("recognised") or {}


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease. ``update_digest`` is the one update that was received under it, if any."""

    lease_id: str
    contributor: str
    round: int
    base_version: str
    base_digest: str
    shard: str
    nonce: str
    issued_at_ms: int
    expires_at_ms: int
    update_digest: str | None


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """An update and what became of it.

    Attributes:
        state: one of ``barnraise.protocol.UpdateState``.
        version, weight: the release it is merged in, and with which weight; None otherwise.
        found_by: which check rejected it; None unless rejected.
        reverted_in: the release that was made without it, though ``version`` has it; None unless reverted.
        segment_square_sums: from its check, float64; None before.
        envelope: the signed envelope as it came.
    """

    digest: str
    contributor: str
    lease_id: str
    round: int
    base_digest: str
    size_bytes: int
    tokens: int
    steps: int
    state: str
    reason: str
    version: str | None
    weight: float | None
    found_by: str | None
    evidence: dict[str, Any]
    segment_square_sums: list[float] | None
    received_at_ms: int
    envelope: dict[str, Any]
    reverted_in: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A tag, as in :class:`coordinator.ledger.events.ReleaseTagged`; ``seq`` is that event's.

    Attributes:
        reverts: None in ledgers from before there was such a thing; as good as empty.
        yanked: why nobody should start to use it; None of most releases.
        promoted_at_ms: when it became one for ``stable``; None until then.
    """

    version: str
    seq: int
    parent: str | None
    model_digest: str
    manifest_digest: str
    round: int
    bump: str
    reason: str
    keyframe: dict[str, Any] | None
    patch: dict[str, Any] | None
    state_digest: str | None
    created_at_ms: int
    summary: dict[str, Any]
    reverts: list[str] | None = None
    yanked: str | None = None
    promoted_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """Where a channel is.

    Attributes:
        previous: where it was before; None for a new channel.
        reason: why it was moved; "" or None where it followed a new release.
        probe: what probes said of the move: {"against", "passed", "reason", "tests"}; None until they did.
    """

    channel: str
    version: str
    previous: str | None
    reason: str | None
    probe: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order and what became of it; ``settled_at_ms``, ``done``, ``reason``, ``result`` are None until then."""

    order_id: str
    seq: int
    order: dict[str, Any]
    placed_at_ms: int
    settled_at_ms: int | None
    done: bool | None
    reason: str | None
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class BanRow:
    """A key that may not contribute. ``since_ms``: from when on what it sent was revoked."""

    contributor: str
    since_ms: int
    reason: str
    banned_at_ms: int


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A contributor whose updates are measured and not merged."""

    contributor: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class DerivedRow:
    """A listed version of a derived model, as in :class:`coordinator.ledger.order_events.ModelDerived`."""

    name: str
    version: str
    seq: int
    model_digest: str
    manifest_digest: str
    manifest_bytes: int
    parent_name: str
    parent_version: str
    reason: str
    derived_at_ms: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over the whole run.

    Attributes:
        rounds: phase -> number of rounds in it. updates: state -> number of updates in it.
        received_bytes, tokens: over all updates ever received, whatever became of them.
    """

    contributors: int
    leases: int
    releases: int
    rounds: dict[str, int]
    updates: dict[str, int]
    received_bytes: int
    tokens: int
