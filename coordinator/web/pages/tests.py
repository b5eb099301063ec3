"""The verdict on a model as a table: what each test said, with its interval against its margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["REACH_MOST", "VerdictRow", "is_higher_better", "reach_of", "verdict_rows"]

REACH_LEAST, REACH_MOST = 1.5, 5.0


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One test. Numbers that a verdict does not have (a first release has no base) are None.

    Attributes:
        state: passed, failed, accepted (worse, by the operator's leave) or measured (judged against nothing).
        margins: low, effect and high as worsening in margins; None without a margin or an interval.
        accepted: why it may be worse.
    """

    name: str
    unit: str
    supported: bool
    higher_is_better: bool
    n: int | None
    base: float | None
    mean: float | None
    effect: float | None
    low: float | None
    high: float | None
    margin: float | None
    p: float | None
    confidence: float | None
    state: str
    reason: str
    margins: tuple[float, float, float] | None
    accepted: str | None

    @property
    def is_better(self) -> bool | None:
        """Whether the effect is for the better; None where there is none."""
        return None if not self.effect else (self.effect > 0) == self.higher_is_better


def verdict_rows(summary: Mapping[str, Mapping[str, Any]]) -> tuple[VerdictRow, ...]:
    """By name; supported tests first.

    Args:
        summary: as ``ReleaseTagged.summary`` and a round's verdict have it.
    """
    rows = [_row(name, row) for name, row in summary.items()]
    return tuple(sorted(rows, key=lambda row: (not row.supported, row.name)))


def _row(name: str, row: Mapping[str, Any]) -> VerdictRow:
    higher = is_higher_better(row)
    effect, margin = _number(row.get("effect")), _number(row.get("margin"))
    low, high = _number(row.get("low")), _number(row.get("high"))
    compared = row.get("base_mean") is not None and effect is not None
    return VerdictRow(
        name=name,
        unit=str(row.get("unit", "")),
        supported=bool(row.get("supported", True)),
        higher_is_better=higher,
        n=row.get("n"),
        base=_number(row.get("base_mean")),
        mean=_number(row.get("mean")),
        effect=effect if compared else None,
        low=low if compared else None,
        high=high if compared else None,
        margin=margin,
        p=_number(row.get("p")) if compared else None,
        confidence=_number(row.get("confidence")),
        state=_state(row, compared),
        reason=str(row.get("reason", "")),
        margins=_in_margins(low, effect, high, margin, higher) if compared else None,
        accepted=row.get("accepted"),
    )


def is_higher_better(row: Mapping[str, Any]) -> bool:
    """Whether more of what a test measures is better. Verdicts of long ago do not say; then it is so of shares."""
    better: object = row.get("better", "higher" if row.get("unit") == "share" else "lower")
    return better == "higher"


def _state(row: Mapping[str, Any], compared: bool) -> str:
    if not compared:
        return "measured"
    if row.get("accepted") is not None:
        return "accepted"
    return "passed" if row.get("passed") else "failed"


def _in_margins(
    low: float | None, effect: float | None, high: float | None, margin: float | None, higher: bool
) -> tuple[float, float, float] | None:
    if low is None or effect is None or high is None or not margin:
        return None
    found = (low / margin, effect / margin, high / margin)
    return (-found[2], -found[1], -found[0]) if higher else found


def reach_of(rows: tuple[VerdictRow, ...]) -> float:
    """How many margins an axis shows to each side, so that all intervals fit, up to a limit."""
    furthest = max((abs(bound) for row in rows if row.margins for bound in row.margins), default=0.0)
    return min(max(1.15 * furthest, REACH_LEAST), REACH_MOST)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
