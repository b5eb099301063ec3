"""What can happen in a run. The ledger is the list of these, in order; all else follows from it.

An event is a frozen dataclass of JSON values. ``kind`` and ``subject`` are how it is found
again. Nothing here decides: events say what was decided, with the reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, get_args

from coordinator.ledger.audit_events import AuditEvent
from coordinator.ledger.key_events import KeyEvent
from coordinator.ledger.notice_events import NoticeEvent
from coordinator.ledger.order_events import OrderEvent

__all__ = [
    "EVENTS",
    "ChannelMoved",
    "ContributorSeen",
    "Event",
    "LeaseGranted",
    "LeaseReleased",
    "RecordedEvent",
    "ReleaseTagged",
    "RoundMerged",
    "RoundMoved",
    "RoundOpened",
    "RoundTested",
    "RunCreated",
    "UpdateChecked",
    "UpdateMerged",
    "UpdateReceived",
    "UpdateRejected",
    "UpdateUnmerged",
]


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run begins. ``config`` is the resolved ``RunConfig``; the held-out data is pinned by digest."""

    kind: ClassVar[str] = "run-created"
    name: str
    config_digest: str
    config: dict[str, Any]
    coordinator_key: str
    held_out_digest: str = ""

    @property
    def subject(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ContributorSeen:
    """A key asked for work for the first time, or under a new name."""

    kind: ClassVar[str] = "contributor-seen"
    contributor: str
    name: str

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """A lease. ``node`` tells the machines of one key apart; "" in ledgers of long ago."""

    kind: ClassVar[str] = "lease-granted"
    lease_id: str
    contributor: str
    round: int
    base_version: str
    base_digest: str
    shard: str
    nonce: str
    issued_at_ms: int
    expires_at_ms: int
    node: str = ""

    @property
    def subject(self) -> str:
        return self.lease_id


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """Its contributor gave a lease back; it is over from now on."""

    kind: ClassVar[str] = "lease-released"
    lease_id: str
    contributor: str
    round: int

    @property
    def subject(self) -> str:
        return self.lease_id


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """All bytes of an update are fsynced. ``envelope`` is the signed envelope as it came.

    Attributes:
        team: of every member whose work is in it {"contributor", "lease_id", "tokens", "steps"}, as counted; the sender
            is one of them. Empty for an update of one contributor.
    """

    kind: ClassVar[str] = "update-received"
    digest: str
    contributor: str
    lease_id: str
    round: int
    base_digest: str
    size_bytes: int
    tokens: int
    steps: int
    envelope: dict[str, Any]
    team: list[dict[str, Any]] = field(default_factory=list)

    @property
    def subject(self) -> str:
        return self.digest

    @property
    def contributors(self) -> tuple[str, ...]:
        """Whose work is in it."""
        return tuple(share["contributor"] for share in self.team) or (self.contributor,)


@dataclass(frozen=True, slots=True)
class UpdateChecked:
    """Parsed, finite, on the right base, and alone not harmful.

    Attributes:
        segment_square_sums: per segment, the sum of squares of the decoded change, in float64.
        evidence: numbers of the cheap check, with ``reason`` in words.
    """

    kind: ClassVar[str] = "update-checked"
    digest: str
    round: int
    segment_square_sums: list[float]
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class UpdateRejected:
    """At fault. ``found_by`` is ``check`` (before merging) or ``culprit-search`` (after)."""

    kind: ClassVar[str] = "update-rejected"
    digest: str
    round: int
    found_by: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class UpdateMerged:
    kind: ClassVar[str] = "update-merged"
    digest: str
    round: int
    version: str
    weight: float

    @property
    def subject(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class UpdateUnmerged:
    """Not at fault, and yet in no release: it came too late or its round ended without one.

    Attributes:
        evidence: of one that came too late, what it conflicts with; see ``coordinator.conductor.stale``.
        code: ``late``, ``unchecked``, ``round-rejected`` or ``round-abandoned``; "" in ledgers of long ago.
    """

    kind: ClassVar[str] = "update-unmerged"
    digest: str
    round: int
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    code: str = ""

    @property
    def subject(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class RoundOpened:
    kind: ClassVar[str] = "round-opened"
    number: int
    base_version: str
    base_digest: str

    @property
    def subject(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class RoundMoved:
    """A round changed phase, or learnt something within one.

    Attributes:
        phase: one of ``barnraise.protocol.Phase``.
        state: the whole round as the conductor's state machine holds it, so that a restart
            continues from here.
    """

    kind: ClassVar[str] = "round-moved"
    number: int
    phase: str
    reason: str
    state: dict[str, Any]

    @property
    def subject(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class RoundMerged:
    """How a round's updates were merged into a candidate; once more after culprits were found.

    Attributes:
        record: rules, what every update got, and the conflicts between them; see
            ``coordinator.conductor.record``.
        took_ms: how long merging took; None in ledgers of long ago.
    """

    kind: ClassVar[str] = "round-merged"
    number: int
    reason: str
    record: dict[str, Any]
    took_ms: int | None = None

    @property
    def subject(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class RoundTested:
    """The acceptance verdict on a round's candidate. ``summary`` is as in :class:`ReleaseTagged`.

    Attributes:
        draws: which hidden examples were drawn, as in coordinator/acceptance/hidden/drawing.py.
        suite: digest of the suite that was run; "" in ledgers of long ago.
        took_ms: how long testing took; None in ledgers of long ago.
    """

    kind: ClassVar[str] = "round-tested"
    number: int
    passed: bool
    reason: str
    summary: dict[str, Any]
    draws: dict[str, Any] = field(default_factory=dict)
    suite: str = ""
    took_ms: int | None = None

    @property
    def subject(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class ReleaseTagged:
    """A tag, written once. ``round`` is 0 for the first release.

    Attributes:
        summary: test name -> {"mean", "base_mean", "effect", "low", "high", "p", "passed", "unit"}, what it asks
            (coordinator/acceptance/promised.py), and "accepted", why it may be worse, where an operator said so.
        state_digest: blob of the outer optimiser and the residual that go with this release.
        reverts: updates that it was made without, though its parent has them; see ``coordinator.remerge``.
    """

    kind: ClassVar[str] = "release-tagged"
    version: str
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
    summary: dict[str, Any] = field(default_factory=dict)
    reverts: list[str] = field(default_factory=list)

    @property
    def subject(self) -> str:
        return self.version


@dataclass(frozen=True, slots=True)
class ChannelMoved:
    """Compare-and-swap: ``old`` is None for a new channel. ``reason`` is "" where it follows a new release."""

    kind: ClassVar[str] = "channel-moved"
    channel: str
    old: str | None
    new: str
    reason: str = ""

    @property
    def subject(self) -> str:
        return self.channel


Event = (
    RunCreated
    | ContributorSeen
    | LeaseGranted
    | LeaseReleased
    | UpdateReceived
    | UpdateChecked
    | UpdateRejected
    | UpdateMerged
    | UpdateUnmerged
    | RoundOpened
    | RoundMoved
    | RoundMerged
    | RoundTested
    | ReleaseTagged
    | ChannelMoved
    | NoticeEvent
    | KeyEvent
    | AuditEvent
    | OrderEvent
)

EVENTS: dict[str, type[Event]] = {event.kind: event for event in get_args(Event)}


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event with its place in the ledger. ``seq`` begins at 1 and has no gaps."""

    seq: int
    at_ms: int
    event: Event

    def as_json(self) -> dict[str, Any]:
        event = self.event
        return {
            "seq": self.seq,
            "at_ms": self.at_ms,
            "kind": event.kind,
            "subject": event.subject,
            "payload": asdict(event),
        }
