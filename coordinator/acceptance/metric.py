"""What a test's numbers are: their unit, which way is better, and between which bounds they lie."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BITS_PER_ANSWER",
    "BITS_PER_BYTE",
    "BITS_PER_TOKEN",
    "BRIER",
    "BYTES",
    "FLAG",
    "SECONDS",
    "SHARE",
    "Metric",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """The metric of a kind of test.

    Attributes:
        unit: of each value and of the margin.
        higher_is_better: otherwise lower is.
        binary: every value is 0 or 1.
        bounds: between which every value lies; None where nobody knows.
        spread: standard deviation of one value, as a rule; of 0 and 1 it is at most a half.
    """

    unit: str
    higher_is_better: bool
    binary: bool = False
    bounds: tuple[float, float] | None = None
    spread: float = 0.5

    def fits(self, direction: str) -> bool:
        """Whether ``direction``, ``lower`` or ``higher``, is the better one here."""
        return (direction == "higher") == self.higher_is_better


BITS_PER_BYTE = Metric("bits/byte", higher_is_better=False, bounds=(0.0, 64.0))
BITS_PER_TOKEN = Metric("bits/token", higher_is_better=False)
BITS_PER_ANSWER = Metric("bits/answer", higher_is_better=False, bounds=(0.0, 64.0))
SHARE = Metric("share", higher_is_better=True, binary=True, bounds=(0.0, 1.0))
"""Right or wrong, kept or leaked: 1 is as it should be."""
BRIER = Metric("squared error", higher_is_better=False, bounds=(0.0, 1.0))
"""Of stated probabilities against what happened; Brier 1950."""
SECONDS = Metric("s", higher_is_better=False)
BYTES = Metric("bytes", higher_is_better=False)
FLAG = Metric("flag", higher_is_better=True, binary=True, bounds=(0.0, 1.0))
"""1 where something is as declared."""
