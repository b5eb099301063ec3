"""What contributors, consumers and the coordinator say to each other, as validated messages.

What is said of keys is in key_messages.py, what is told to people in records.py. The HTTP paths are listed at the end.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from barnraise.config import TrainingConfig
from barnraise.data_config import DataConfig
from barnraise.message import BlobRef, Count, Digest, Key, LeaseId, Message, Millis, Name, Nonce, Number, Signed
from barnraise.model_config import ModelConfig
from barnraise.swarm.addresses import ADDRESSES_MAX, PeerAddress
from barnraise.team_messages import MEMBERS_MAX
from barnraise.update_config import CodecConfig, LoraConfig, Turns, UpdateConfig

__all__ = [
    "PROTOCOL_VERSION",
    "Discarded",
    "Lease",
    "LeaseAnswer",
    "LeaseRelease",
    "LeaseReleaseAnswer",
    "LeaseRequest",
    "Receipt",
    "RoundInfo",
    "RunInfo",
    "RunTerms",
    "SwarmInfo",
    "UpdateEnvelope",
    "UpdateStatus",
    "UploadStatus",
    "Wait",
    "mask_ref",
]

PROTOCOL_VERSION = 1


def mask_ref(update: UpdateConfig) -> BlobRef | None:
    """The blob that a run's updates are under."""
    mask = update.mask
    return None if mask is None else BlobRef(digest=mask.digest, size_bytes=mask.size_bytes)


class LeaseRequest(Message):
    """A contributor asks for work. Signed. The nonce makes a repeated request the same request.

    Attributes:
        recovery: a signed :class:`~barnraise.key_messages.RecoveryCard`; the run registers the first that it sees of a
            contributor.
        node: random, of the folder that asks; tells two nodes with one key apart. "" says nothing.
    """

    kind: ClassVar[str] = "lease-request"
    run: str
    name: Name
    nonce: Nonce
    at_ms: Millis
    recovery: Signed | None = None
    node: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""


class LeaseRelease(Message):
    """A contributor gives a lease back: nothing will come of it. Signed. Saying it twice changes nothing."""

    kind: ClassVar[str] = "lease-release"
    run: str
    lease_id: LeaseId


class LeaseReleaseAnswer(Message):
    """Whether the lease was open until now, and in words what became of it."""

    kind: ClassVar[str] = "lease-release-answer"
    lease_id: LeaseId
    released: bool
    reason: str


class Lease(Message):
    """What to train, from where, until when. Signed by the coordinator.

    Attributes:
        shard: data domain that this unit should train on.
        seed: seed of the data order of this unit.
        fisher: send a diagonal Fisher along with the change.
        train: patterns of names of the tensors that train; none for all.
        lora: train factors in place of these.
        mask: a public blob; train its entries only.
        turns: send one of so many elements, those that have their turn in ``round``; None for all.
    """

    kind: ClassVar[str] = "lease"
    lease_id: LeaseId
    contributor: Key
    round: Count
    base_version: str
    base_digest: Digest
    shard: str
    seed: Count
    training: TrainingConfig
    codec: CodecConfig
    fisher: bool = False
    train: tuple[str, ...] = ()
    lora: LoraConfig | None = None
    mask: BlobRef | None = None
    turns: Turns | None = None
    issued_at_ms: Millis
    expires_at_ms: Millis


class Wait(Message):
    """No work now: why, and when to ask again."""

    kind: ClassVar[str] = "wait"
    reason: str
    retry_after_s: float


class LeaseAnswer(Message):
    """Exactly one of ``lease`` (a signed :class:`Lease`) and ``wait``.

    Attributes:
        notice: what the contributor must be told beside, such as that somebody claims the place of its key.
    """

    kind: ClassVar[str] = "lease-answer"
    lease: Signed | None = None
    wait: Wait | None = None
    notice: str | None = None


class UpdateEnvelope(Message):
    """What is said about an update before its bytes are sent. Signed by the contributor.

    Attributes:
        examples: training windows seen. tokens: bytes or tokens seen. steps: optimiser steps.
        team: signed :class:`~barnraise.team_messages.TeamShare` of every member whose work is in it, the sender's among
            them; nothing of an update of one contributor alone. Tokens and examples are then sums, steps the most of
            one member.
        loss_first, loss_last: training loss in bits per byte at the unit's first and last steps.
    """

    kind: ClassVar[str] = "update"
    run: str
    lease_id: LeaseId
    round: Count
    base_digest: Digest
    update_digest: Digest
    size_bytes: Annotated[int, Field(strict=True, gt=0, lt=1 << 53)]
    tokens: Count
    examples: Count
    steps: Count
    loss_first: Number
    loss_last: Number
    nonce: Nonce
    at_ms: Millis
    team: Annotated[tuple[Signed, ...], Field(max_length=MEMBERS_MAX)] = ()


class UploadStatus(Message):
    """How much of an announced update is stored. ``receipt`` is there once all of it is."""

    kind: ClassVar[str] = "upload-status"
    digest: Digest
    offset: Count
    size_bytes: Count
    receipt: Signed | None = None


class Receipt(Message):
    """The coordinator has the update: blob fsynced, row committed. Signed by the coordinator."""

    kind: ClassVar[str] = "receipt"
    run: str
    update_digest: Digest
    contributor: Key
    round: Count
    size_bytes: Count
    received_at_ms: Millis


UpdateState = Literal["received", "checked", "rejected", "merged", "unmerged", "reverted"]
Phase = Literal["collecting", "merging", "testing", "released", "rejected", "abandoned"]


class UpdateStatus(Message):
    """What became of an update.

    Attributes:
        state: received, checked (waits for its round), rejected (at fault), merged (in
            ``version``), unmerged (not at fault: too late, or its round was abandoned), or
            reverted (merged in ``version``, and taken out of the trunk later).
        evidence: numbers behind ``reason``.
        fold_back: the contributor may add it back to its own residual.
    """

    kind: ClassVar[str] = "update-status"
    digest: Digest
    contributor: Key
    round: Count
    state: UpdateState
    reason: str
    version: str | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
    fold_back: bool = False


class RoundInfo(Message):
    """The newest round. ``deadline_ms`` is when collecting ends at the latest."""

    kind: ClassVar[str] = "round"
    number: Count
    phase: Phase
    reason: str
    base_version: str
    base_digest: Digest
    opened_at_ms: Millis
    deadline_ms: Millis
    leased: Count
    received: Count
    checked: Count
    rejected: Count


class RunTerms(Message):
    """What a unit of a run asks of a machine, so that somebody can find out before joining.

    Attributes:
        lease_for_s: how long a unit may take. max_clock_skew_s: how far a clock may be off.
        turns: of so many elements one is sent in each round; None where all are.
        max_update_bytes: the largest update that is taken. max_rounds: after which the run is over; None for never.
    """

    kind: ClassVar[str] = "run-terms"
    training: TrainingConfig
    codec: CodecConfig
    lease_for_s: Number
    max_clock_skew_s: Number
    max_update_bytes: Count
    max_rounds: Count | None = None
    turns: Turns | None = None


class SwarmInfo(Message):
    """How to take part in what nodes of a run do for each other.

    Attributes:
        bootstrap: multiaddresses of hosts to begin with.
    """

    kind: ClassVar[str] = "swarm-info"
    bootstrap: Annotated[tuple[PeerAddress, ...], Field(max_length=ADDRESSES_MAX)]


class RunInfo(Message):
    """What a stranger needs to know before joining. ``round`` is None until the first one opens.

    Attributes:
        terms: what a unit asks of a machine; None from coordinators that do not say.
        root_digest: of the first root of its release metadata, which pulling begins with.
        data: where the training text comes from and how it is split; none of the text itself.
        residual_decay: share of what compression left out that a contributor adds to its next update.
        swarm: None where the run keeps none; a node needs none.
    """

    kind: ClassVar[str] = "run"
    protocol: int
    name: str
    description: str
    licence: str
    coordinator_key: Key
    root_digest: Digest
    model: ModelConfig
    data: DataConfig
    residual_decay: Annotated[float, Field(ge=0, le=1)] = 1.0
    newest: str | None
    round: RoundInfo | None
    terms: RunTerms | None = None
    swarm: SwarmInfo | None = None


class Discarded(Message):
    """Bytes that came and were thrown away, to measure how fast they came."""

    kind: ClassVar[str] = "discarded"
    size_bytes: Count


# Paths, below the coordinator's base URL. Bodies and answers are JSON unless said otherwise.
#   GET  /v1/run                                RunInfo
#   GET  /v1/round                              RoundInfo
#   GET  /v1/rounds?before=N&limit=M            RoundLines, the newest of those before N
#   GET  /v1/rounds/{number}                    RoundRecord
#   GET  /v1/contributors?limit=M               ContributorLines, best first
#   GET  /v1/contributors/{key or 8 digits of it}   ContributorRecord
#   POST /v1/leases            Signed(LeaseRequest)    -> LeaseAnswer
#   POST /v1/keys/rotations    Signed(KeyAccepted of a Rotation)         -> KeyHistory
#   POST /v1/keys/recoveries   Signed(KeyAccepted of a RecoveryRequest)  -> KeyHistory
#   POST /v1/keys/objections   Signed(Objection)       -> KeyHistory
#   GET  /v1/keys/{key}                         KeyHistory of whoever has or had that key
#   POST /v1/leases/release    Signed(LeaseRelease)    -> LeaseReleaseAnswer
#   POST /v1/updates           Signed(UpdateEnvelope)  -> UploadStatus
#   PUT  /v1/updates/{digest}/bytes?offset=N   raw bytes -> UploadStatus (receipt when complete)
#   GET  /v1/updates/{digest}                   UpdateStatus
#   GET  /v1/updates/{digest or 6 digits of it}/story   UpdateStory
#   GET  /v1/events?after=SEQ&limit=N           {"events": [{seq, at_ms, kind, subject, payload}]}
#   GET  /v1/releases/metadata/{file}           release metadata (TUF), also on any static mirror
#   GET  /v1/releases/targets/{file}            the lists that it leads to; also on any static mirror
#   GET  /v1/releases/blobs/{2 hex}/{62 hex}    bytes, single ranges; also on any static mirror
#   POST /v1/discard           raw bytes, at most 1 MiB -> Discarded; to measure how fast an upload is
#   GET  /v1/health                             {"status": "ok", ...}
#   GET  /metrics                               Prometheus text
#   GET  /releases.atom                         the newest releases as an Atom feed
# An error is {"error": {"code": ..., "reason": ...}} with the status of its class.
