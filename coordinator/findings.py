"""What a check found: one :class:`Finding` for each thing that is not in order, and what was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coordinator.references import Reference

__all__ = ["TABLES", "Checked", "Finding", "Part"]

Part = Literal["blobs", "references", "ledger", "tables", "index", "signatures", "backups"]
TABLES: Part = "tables"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not in order.

    Attributes:
        what: one sentence.
        blob: the blob that it is about, if it is about one; its size may be unknown.
        needed: whether anything needs that blob; a damaged one that nothing needs may go.
    """

    part: Part
    what: str
    blob: Reference | None = None
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found."""

    blobs: int
    size_bytes: int
    references: int
    findings: tuple[Finding, ...]
