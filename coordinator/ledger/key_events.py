"""How a contributor's keys follow each other. Its first key names it for ever; the newest one signs for it.

    registered          the public half of a recovery key, with the first lease
    replaced            by rotation, at once; or by a recovery, when its time was over
    claimed --> ended   a recovery: done, or the key in use has objected

Each event keeps the signed statement that it was decided on, so anybody can check the whole chain again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["KeyEvent", "KeyReplaced", "RecoveryClaimed", "RecoveryEnded", "RecoveryRegistered"]


@dataclass(frozen=True, slots=True)
class RecoveryRegistered:
    """A contributor's recovery key. ``card`` is the signed recovery card."""

    kind: ClassVar[str] = "recovery-registered"
    contributor: str
    recovery_key: str
    card: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class KeyReplaced:
    """From now on ``new_key`` signs for the contributor, and ``old_key`` does no more.

    Attributes:
        how: ``rotated`` or ``recovered``.
        statement: what both keys, or the recovery key and the new one, have signed.
    """

    kind: ClassVar[str] = "key-replaced"
    contributor: str
    old_key: str
    new_key: str
    how: str
    reason: str
    statement: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class RecoveryClaimed:
    """Whoever holds the recovery code wants another key. ``claim_id`` is the nonce of the request."""

    kind: ClassVar[str] = "recovery-claimed"
    claim_id: str
    contributor: str
    new_key: str
    recovery_key: str
    effective_at_ms: int
    statement: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.contributor


@dataclass(frozen=True, slots=True)
class RecoveryEnded:
    """A claim is over: carried out, or objected to, and then the recovery key is registered no more.

    Attributes:
        statement: the signed objection; {} when it was carried out.
    """

    kind: ClassVar[str] = "recovery-ended"
    claim_id: str
    contributor: str
    done: bool
    reason: str
    statement: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.contributor


KeyEvent = RecoveryRegistered | KeyReplaced | RecoveryClaimed | RecoveryEnded
