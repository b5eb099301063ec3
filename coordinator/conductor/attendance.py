"""Who is at work on a round, as the ledger has it: what of that decides how long a round goes on collecting."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from coordinator.ledger import Ledger
from coordinator.round_events import Tick

__all__ = ["Attendance"]


@dataclass(frozen=True, slots=True)
class Attendance:
    """Stays true, whatever the time, until something is recorded.

    Attributes:
        first_lease_at_ms, last_seen_at_ms: as in :class:`coordinator.round_events.Tick`.
        out_until_ms: when each lease expires that has brought no update.
    """

    first_lease_at_ms: int | None
    last_seen_at_ms: int | None
    out_until_ms: tuple[int, ...]

    @classmethod
    def of(cls, ledger: Ledger, number: int, banned: Collection[str]) -> Attendance:
        """At round ``number``, without leases of banned keys."""
        fact = ledger.round(number)
        assert fact is not None
        leases = [lease for lease in ledger.leases(number) if lease.contributor not in banned]
        arrivals = [row.received_at_ms for row in ledger.updates(round=number)]
        return cls(
            fact.first_lease_at_ms,
            max([lease.issued_at_ms for lease in leases] + arrivals, default=None),
            tuple(lease.expires_at_ms for lease in leases if lease.update_digest is None),
        )

    def at(self, now_ms: int) -> Tick:
        """What the round is told of the time."""
        leases_out = sum(now_ms < expires_at_ms for expires_at_ms in self.out_until_ms)
        return Tick(now_ms, self.first_lease_at_ms, self.last_seen_at_ms, leases_out)
