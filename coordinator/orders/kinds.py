"""What an operator can order of a run, as values that the ledger keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar, get_args

from barnraise.errors import OrderRefusedError

__all__ = [
    "KINDS",
    "AcceptRegression",
    "Derive",
    "EndQuarantine",
    "LiftBan",
    "MoveChannel",
    "Order",
    "Promoted",
    "PublishSigned",
    "Quarantine",
    "Revert",
    "Revoke",
    "WithdrawAcceptance",
    "Withdrawn",
    "Yank",
    "as_json",
    "order_of",
]


@dataclass(frozen=True, slots=True)
class MoveChannel:
    """Point a channel at another release. Where ``nightly`` points, the trunk goes on."""

    kind: ClassVar[str] = "move-channel"
    channel: str
    version: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Yank:
    """Mark a release as one that nobody should start to use; ``reason`` None takes the mark away."""

    kind: ClassVar[str] = "yank"
    version: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Promoted:
    """Maintainers have signed a release for ``stable``; whoever orders this has checked their signatures."""

    kind: ClassVar[str] = "promoted"
    version: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Maintainers are about to sign that a release is one for ``stable`` no more."""

    kind: ClassVar[str] = "withdrawn"
    version: str


@dataclass(frozen=True, slots=True)
class PublishSigned:
    """Maintainers have signed something else, which is to be published; ``what`` says what."""

    kind: ClassVar[str] = "publish-signed"
    what: str


@dataclass(frozen=True, slots=True)
class Revert:
    """Make a release as if updates had never been merged.

    Attributes:
        updates: digests, or how they begin.
        accepts: test -> why its getting worse is accepted.
    """

    kind: ClassVar[str] = "revert"
    updates: tuple[str, ...]
    reason: str = ""
    accepts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revoke:
    """Ban a key, and revert everything that it sent since ``since_ms``; ``contributor`` may be how it begins."""

    kind: ClassVar[str] = "revoke"
    contributor: str
    since_ms: int
    reason: str
    accepts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LiftBan:
    """Let a banned key contribute again; what was reverted stays so."""

    kind: ClassVar[str] = "lift-ban"
    contributor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Measure what a contributor sends, and merge none of it; ``contributor`` may be how its key begins."""

    kind: ClassVar[str] = "quarantine"
    contributor: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndQuarantine:
    """Merge again what a contributor sends from now on."""

    kind: ClassVar[str] = "end-quarantine"
    contributor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Derive:
    """List a derived model whose blobs are all stored; see ``barnraise.releases.derived``.

    Attributes:
        reason: why it has this version.
    """

    kind: ClassVar[str] = "derive"
    name: str
    version: str
    model_digest: str
    manifest_digest: str
    manifest_bytes: int
    parent_name: str
    parent_version: str
    parent_digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class AcceptRegression:
    """Release the next candidate of the trunk as it is now that fails these tests and no other; once.

    The order waits until there is one, or the trunk has moved on. ``accepting.py`` makes it from what was seen.

    Attributes:
        base: where the trunk is. round: where these tests failed, against that.
        tests: name -> {"asks": digest of its question, "at_most": how much worse, in the metric's unit}.
    """

    kind: ClassVar[str] = "accept-regression"
    base: str
    round: int
    tests: Mapping[str, Mapping[str, Any]]
    reason: str


@dataclass(frozen=True, slots=True)
class WithdrawAcceptance:
    """Take back what was accepted and not used yet."""

    kind: ClassVar[str] = "withdraw-acceptance"
    reason: str = ""


Order = (
    MoveChannel
    | Yank
    | Promoted
    | Withdrawn
    | PublishSigned
    | Revert
    | Revoke
    | LiftBan
    | Quarantine
    | EndQuarantine
    | Derive
    | AcceptRegression
    | WithdrawAcceptance
)

KINDS: dict[str, type[Order]] = {kind.kind: kind for kind in get_args(Order)}


def as_json(order: Order) -> dict[str, Any]:
    """For the ledger; :func:`order_of` reads it back."""
    return {"kind": order.kind, **asdict(order)}


def order_of(value: Mapping[str, Any]) -> Order:
    """The order that the ledger holds as ``value``.

    Raises:
        OrderRefusedError: none that this version knows; another one has placed it.
    """
    fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
    kind = KINDS.get(fields.pop("kind", ""))
    if kind is None or set(fields) != {one.name for one in dataclass_fields(kind)}:
        raise OrderRefusedError(f"this coordinator knows no such order as {str(value)[:200]}; is it an older version?")
    return kind(**fields)
