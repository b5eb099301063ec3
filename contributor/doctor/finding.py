"""What a check found, what was needed, and what would help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Finding", "Mark", "fail", "main_cause", "ok", "skipped", "warn"]

Mark = Literal["ok", "warning", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        check: what was looked at. mark: ``fail`` means that this machine cannot join as it is.
        found: in words, with the number. needed: what would do; "" where that says itself.
        cure: what the owner can do; "" when all is well.
        cause: stable name of what is wrong, for programs and tests; "" when all is well.
    """

    check: str
    mark: Mark
    found: str
    needed: str = ""
    cure: str = ""
    cause: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The finding as one sentence, with its cure."""
        needed = f" ({self.needed})" if self.needed else ""
        cure = f" -> {self.cure}" if self.cure else ""
        return f"{self.check}: {self.found}{needed}{cure}"


def ok(check: str, found: str, needed: str = "") -> Finding:
    return Finding(check, "ok", found, needed)


def skipped(check: str, why: str) -> Finding:
    """Not looked at, because of something before it."""
    return Finding(check, "skipped", why)


def warn(check: str, found: str, *, cause: str, cure: str, needed: str = "") -> Finding:
    """Not as it should be, and yet no reason not to join."""
    return Finding(check, "warning", found, needed, cure, cause)


def fail(check: str, found: str, *, cause: str, cure: str, needed: str = "") -> Finding:
    """In the way of joining."""
    return Finding(check, "fail", found, needed, cure, cause)


def main_cause(findings: Iterable[Finding]) -> Finding | None:
    """The first failure: checks stand in the order in which one thing leads to the other."""
    return next((finding for finding in findings if finding.mark == "fail"), None)
