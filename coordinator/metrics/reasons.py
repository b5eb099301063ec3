"""Why an update moved on, in one of a few words: free text never becomes a label.

Events say it in a code of their own where they have one. Ledgers of long ago do not; what can be told
apart without reading sentences is, and the rest is ``other``.
"""

from __future__ import annotations

from coordinator.ledger.events import UpdateRejected, UpdateUnmerged
from coordinator.metrics.catalogue import REASONS

__all__ = ["rejection_code", "unmerged_code"]

_FOUND_BY = {"culprit-search": "culprit", "ban": "banned"}


def rejection_code(event: UpdateRejected) -> str:
    """``malformed`` where the bytes were wrong, ``harmful`` where the check measured it, or who found it out."""
    if event.found_by == "check":
        return "malformed" if "code" in event.evidence else "harmful"
    return _FOUND_BY.get(event.found_by, "other")


def unmerged_code(event: UpdateUnmerged) -> str:
    """The event's own code."""
    return event.code if event.code in REASONS["unmerged"] else "other"
