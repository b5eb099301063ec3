"""What an operator orders, and what follows from it for releases, updates and keys.

An order is placed by a command on the coordinator's machine and settled by whoever carries it
out: done or refused, with a reason either way. See ``coordinator.orders``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

__all__ = [
    "BanLifted",
    "ChannelProbed",
    "ContributorBanned",
    "ContributorQuarantined",
    "ModelDerived",
    "OrderEvent",
    "OrderPlaced",
    "OrderSettled",
    "QuarantineEnded",
    "ReleasePromoted",
    "ReleaseWithdrawn",
    "ReleaseYanked",
    "UpdateReverted",
]


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """Somebody at the coordinator's machine wants something. ``order`` is one of ``coordinator.orders.kinds``."""

    kind: ClassVar[str] = "order-placed"
    order_id: str
    order: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.order_id


@dataclass(frozen=True, slots=True)
class OrderSettled:
    """What became of an order.

    Attributes:
        done: carried out; else refused, and nothing was changed but what ``reason`` says.
        result: numbers behind the reason, JSON values.
    """

    kind: ClassVar[str] = "order-settled"
    order_id: str
    done: bool
    reason: str
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return self.order_id


@dataclass(frozen=True, slots=True)
class ReleaseYanked:
    """A release that nobody should start to use; with ``reason`` None it is as any other again."""

    kind: ClassVar[str] = "release-yanked"
    version: str
    reason: str | None

    @property
    def subject(self) -> str:
        return self.version


@dataclass(frozen=True, slots=True)
class ReleasePromoted:
    """The maintainers have signed a release for ``stable``."""

    kind: ClassVar[str] = "release-promoted"
    version: str

    @property
    def subject(self) -> str:
        return self.version


@dataclass(frozen=True, slots=True)
class ModelDerived:
    """A derived model is listed from now on. Its manifest is a blob; see ``barnraise.releases.derived``."""

    kind: ClassVar[str] = "model-derived"
    name: str
    version: str
    model_digest: str
    manifest_digest: str
    manifest_bytes: int
    parent_name: str
    parent_version: str
    reason: str

    @property
    def subject(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class ReleaseWithdrawn:
    """The maintainers stand for a release no more."""

    kind: ClassVar[str] = "release-withdrawn"
    version: str

    @property
    def subject(self) -> str:
        return self.version


@dataclass(frozen=True, slots=True)
class UpdateReverted:
    """A merged update that no longer is in the trunk.

    Attributes:
        version: the release that was made as if it had never been merged.
    """

    kind: ClassVar[str] = "update-reverted"
    digest: str
    version: str
    reason: str

    @property
    def subject(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class ContributorBanned:
    """A key gets no lease and no update in from now on. ``since_ms``: from when on what it sent is revoked."""

    kind: ClassVar[str] = "contributor-banned"
    contributor: str
    since_ms: int
    reason: str

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class BanLifted:
    """A banned key may contribute again. What was reverted stays so."""

    kind: ClassVar[str] = "ban-lifted"
    contributor: str
    reason: str

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class ContributorQuarantined:
    """What a contributor sends from now on is measured and not merged."""

    kind: ClassVar[str] = "contributor-quarantined"
    contributor: str
    reason: str

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class QuarantineEnded:
    """What the contributor sends is merged again."""

    kind: ClassVar[str] = "quarantine-ended"
    contributor: str
    reason: str

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class ChannelProbed:
    """A channel's release was compared with the one before it, after it moved there.

    Attributes:
        passed: no probe shows a significant regression; else the channel moves back with this event.
        summary: probe -> numbers, as in ``ReleaseTagged``.
    """

    kind: ClassVar[str] = "channel-probed"
    channel: str
    version: str
    against: str
    passed: bool
    reason: str
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return self.channel


OrderEvent = (
    OrderPlaced
    | OrderSettled
    | ReleaseYanked
    | ReleasePromoted
    | ReleaseWithdrawn
    | UpdateReverted
    | ContributorBanned
    | ModelDerived
    | BanLifted
    | ContributorQuarantined
    | QuarantineEnded
    | ChannelProbed
)
