"""The ledger: an append-only list of events, and tables that follow from it.

``events`` says what can happen, ``ledger`` records and answers, ``projection`` derives the
tables from the events, ``rows`` is what an answer looks like, ``schema`` and ``migrations``
are the tables themselves. ``page_reads`` and ``key_records`` answer what pages and keys ask,
``moved`` is deciding again when somebody else was faster.
"""

from coordinator.ledger.key_records import ClaimRow, KeyRecords, KeyRow, RecoveryRow
from coordinator.ledger.ledger import TRUNK, Ledger
from coordinator.ledger.moved import LedgerMovedError, until_recorded
from coordinator.ledger.rows import (
    BanRow,
    ChannelRow,
    ContributionRow,
    ContributorRow,
    DerivedRow,
    LeaseRow,
    OrderRow,
    QuarantineRow,
    ReleaseRow,
    RoundRow,
    RunRow,
    Tally,
    UpdateRow,
)

__all__ = [
    "TRUNK",
    "BanRow",
    "ChannelRow",
    "ClaimRow",
    "ContributionRow",
    "ContributorRow",
    "DerivedRow",
    "KeyRecords",
    "KeyRow",
    "LeaseRow",
    "Ledger",
    "LedgerMovedError",
    "OrderRow",
    "QuarantineRow",
    "RecoveryRow",
    "ReleaseRow",
    "RoundRow",
    "RunRow",
    "Tally",
    "UpdateRow",
    "until_recorded",
]
