"""What a round is told and what it asks for: the events and the actions of the round machine (round.py)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Accepted",
    "Action",
    "Candidate",
    "Check",
    "CheckFailed",
    "CheckPassed",
    "CulpritsFound",
    "FindCulprits",
    "Interrupted",
    "Judged",
    "Merge",
    "MergeFailed",
    "Merged",
    "RoundEvent",
    "RunTests",
    "SuiteFailed",
    "Tag",
    "Tagged",
    "Tick",
    "UpdateArrived",
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What merging produced: digests of the model, of the patch file and of the optimiser's state."""

    model_digest: str
    patch_digest: str
    patch_bytes: int
    state_digest: str


@dataclass(frozen=True, slots=True)
class UpdateArrived:
    digest: str


@dataclass(frozen=True, slots=True)
class CheckPassed:
    digest: str


@dataclass(frozen=True, slots=True)
class CheckFailed:
    digest: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed.

    Attributes:
        leases_out: live leases whose update has not arrived.
        last_seen_at_ms: when a lease of the round was last granted or an update last arrived.
    """

    now_ms: int
    first_lease_at_ms: int | None
    last_seen_at_ms: int | None
    leases_out: int


@dataclass(frozen=True, slots=True)
class Merged:
    merge_set: tuple[str, ...]
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class MergeFailed:
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The acceptance verdict on a candidate."""

    candidate: Candidate
    passed: bool
    reason: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The candidate fails tests, and the operator has accepted by name that these get worse."""

    candidate: Candidate
    order_id: str
    reason: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class SuiteFailed:
    """The suite could not be run: there is no verdict on the candidate."""

    candidate: Candidate
    reason: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class CulpritsFound:
    """Outcome of a culprit search; ``culprits`` is empty when no subset explains the failure."""

    culprits: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Tagged:
    version: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The trunk does not go on from the round's base any more, whatever the round has come to."""

    reason: str


RoundEvent = (
    UpdateArrived
    | CheckPassed
    | CheckFailed
    | Tick
    | Merged
    | MergeFailed
    | Judged
    | Accepted
    | SuiteFailed
    | CulpritsFound
    | Tagged
    | Interrupted
)


@dataclass(frozen=True, slots=True)
class Check:
    digest: str


@dataclass(frozen=True, slots=True)
class Merge:
    merge_set: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunTests:
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class FindCulprits:
    merge_set: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tag:
    candidate: Candidate
    merge_set: tuple[str, ...]
    decided_at_ms: int


Action = Check | Merge | RunTests | FindCulprits | Tag
