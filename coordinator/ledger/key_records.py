"""Questions about keys: whose a key is, which one is in use, who may recover it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Table, select

from coordinator.ledger import schema
from coordinator.ledger.engine import reading

__all__ = ["ClaimRow", "KeyRecords", "KeyRow", "RecoveryRow"]

Row = TypeVar("Row", "KeyRow", "RecoveryRow", "ClaimRow")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key that came in the place of another one.

    Attributes:
        replaces: the key before it. place: 1 for the first replacement, then 2, 3, ...
        how: ``rotated`` or ``recovered``.
    """

    key: str
    contributor: str
    replaces: str
    place: int
    how: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class RecoveryRow:
    """The recovery key of a contributor."""

    contributor: str
    recovery_key: str
    registered_at_ms: int


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A recovery that was asked for. ``ended_at_ms`` and ``done`` are None while it is open."""

    claim_id: str
    contributor: str
    new_key: str
    recovery_key: str
    claimed_at_ms: int
    effective_at_ms: int
    ended_at_ms: int | None
    done: bool | None


@dataclass(frozen=True)
class KeyRecords:
    """Reads the tables of keys of one ledger. A contributor is named by its first key."""

    engine: Engine

    def contributor_of(self, key: str) -> str:
        """Whose key it is or was; the key itself when it came in no other's place."""
        found = self.row(key)
        return found.contributor if found is not None else key

    def key_of(self, contributor: str) -> str:
        """The key that signs for a contributor now."""
        chain = self.chain(contributor)
        return chain[-1].key if chain else contributor

    def chain(self, contributor: str) -> list[KeyRow]:
        """The keys that came after the first one, in their order."""
        return self._rows(KeyRow, schema.keys, schema.keys.c.contributor == contributor, "place")

    def row(self, key: str) -> KeyRow | None:
        """How a key came to its contributor; None for one that came in no other's place."""
        return self._one(KeyRow, schema.keys, schema.keys.c.key == key)

    def replacement(self, key: str) -> KeyRow | None:
        """The key that came in the place of this one; None while it is in use."""
        return self._one(KeyRow, schema.keys, schema.keys.c.replaces == key)

    def beginning(self, prefix: str) -> list[KeyRow]:
        """Keys that came in the place of another one and begin so."""
        begins = schema.keys.c.key.startswith(prefix, autoescape=True)
        return self._rows(KeyRow, schema.keys, begins, "key")

    def recovery(self, contributor: str) -> RecoveryRow | None:
        return self._one(RecoveryRow, schema.recoveries, schema.recoveries.c.contributor == contributor)

    def recovered_by(self, recovery_key: str) -> RecoveryRow | None:
        """Whom a recovery key is registered for."""
        return self._one(RecoveryRow, schema.recoveries, schema.recoveries.c.recovery_key == recovery_key)

    def open_claim(self, contributor: str) -> ClaimRow | None:
        """The claim on a contributor that is not over; there is one at most."""
        table = schema.claims.c
        return self._one(ClaimRow, schema.claims, (table.contributor == contributor) & table.ended_at_ms.is_(None))

    def open_claim_for(self, new_key: str) -> ClaimRow | None:
        """The claim, not over, by which a key would come to a contributor."""
        table = schema.claims.c
        return self._one(ClaimRow, schema.claims, (table.new_key == new_key) & table.ended_at_ms.is_(None))

    def objected(self, recovery_key: str) -> bool:
        """Whether a key in use has objected to a claim that was made with this recovery key."""
        table = schema.claims.c
        spent = (table.recovery_key == recovery_key) & table.done.is_(False)
        return self._one(ClaimRow, schema.claims, spent) is not None

    def claim(self, claim_id: str) -> ClaimRow | None:
        return self._one(ClaimRow, schema.claims, schema.claims.c.claim_id == claim_id)

    def _one(self, row: type[Row], table: Table, where: ColumnElement[bool]) -> Row | None:
        return next(iter(self._rows(row, table, where)), None)

    def _rows(self, row: type[Row], table: Table, where: ColumnElement[bool], by: str = "contributor") -> list[Row]:
        columns = [table.c[one.name] for one in fields(row)]
        with reading(self.engine) as connection:
            found: Any = connection.execute(select(*columns).where(where).order_by(table.c[by])).mappings()
            return [row(**values) for values in found]
