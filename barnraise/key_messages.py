"""What is said of keys: rotations, recoveries and objections, and which keys a contributor has had.

What becomes of them is decided in coordinator/succession.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from barnraise.message import Key, Message, Millis, Nonce, Signed

__all__ = [
    "KeyAccepted",
    "KeyHistory",
    "KeyStep",
    "Objection",
    "PendingRecovery",
    "RecoveryCard",
    "RecoveryRequest",
    "Rotation",
]


class RecoveryCard(Message):
    """A recovery key says whose it is. Signed by the recovery key, whose private half is the recovery code."""

    kind: ClassVar[str] = "recovery-card"
    contributor: Key


class Rotation(Message):
    """A contributor puts ``new`` in the place of its key ``old``. Signed by ``old``, and accepted by ``new``."""

    kind: ClassVar[str] = "rotation"
    run: str
    old: Key
    new: Key
    nonce: Nonce
    at_ms: Millis


class RecoveryRequest(Message):
    """Whoever holds the recovery code wants ``new`` in the place of a lost key. Signed by the recovery key."""

    kind: ClassVar[str] = "recovery"
    run: str
    new: Key
    nonce: Nonce
    at_ms: Millis


class KeyAccepted(Message):
    """A new key takes the place that a signed statement gives it. Signed by the new key.

    Attributes:
        statement: a signed :class:`Rotation` or :class:`RecoveryRequest`.
    """

    kind: ClassVar[str] = "key-accepted"
    statement: Signed


class Objection(Message):
    """A key that is in use says that a recovery is not its owner's doing. Signed by that key.

    Attributes:
        claim: nonce of the recovery request.
    """

    kind: ClassVar[str] = "objection"
    run: str
    claim: Nonce
    nonce: Nonce
    at_ms: Millis


class KeyStep(Message):
    """A key of a contributor. ``how`` it came: ``first``, ``rotated`` or ``recovered``."""

    kind: ClassVar[str] = "key-step"
    key: Key
    how: Literal["first", "rotated", "recovered"]
    since_ms: Millis


class PendingRecovery(Message):
    """A recovery that takes effect at ``effective_at_ms`` unless the key in use objects before."""

    kind: ClassVar[str] = "pending-recovery"
    claim: Nonce
    new: Key
    effective_at_ms: Millis


class KeyHistory(Message):
    """The keys of one contributor, oldest first; the last one signs.

    Attributes:
        contributor: its first key, which names it for ever.
        recovery: the recovery key that is registered; None when there is none.
        banned: why it may not contribute; None of all others.
        reason: what was just decided, in words; "" when nothing was asked.
    """

    kind: ClassVar[str] = "key-history"
    run: str
    contributor: Key
    keys: tuple[KeyStep, ...]
    recovery: Key | None = None
    pending: PendingRecovery | None = None
    banned: str | None = None
    reason: str = ""
