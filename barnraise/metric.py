"""What is measured, as data: names, labels and meanings of metrics, and readings of them.

Coordinator and contributor each have a catalogue of :class:`Metric`, from which docs/metrics.md, the
exporters and the tests of dashboards follow. Readings are plain numbers: whoever measures knows
nothing of Prometheus, and only the ``metrics`` modules turn readings into its text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Metric", "Readings", "Spread"]

LABEL_MAX = 64
"""Longest value of a label; what is longer was not made by us."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus shows it; counters end in ``_total``.
        labels: their names. Every value of every one comes from a bounded set.
        source: where the number comes from: ``ledger``, ``folder``, ``conductor``, ``process`` or ``node``.
        bounds: upper ends of a histogram's buckets, without infinity.
        at_most: how many series there can be; a test holds the exporter to it.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    source: Literal["ledger", "folder", "conductor", "process", "node"]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    at_most: int = 1


@dataclass(slots=True)
class Spread:
    """A histogram: how many values fell into each bucket, and their sum.

    Attributes:
        counts: one a bound, and the last for what is above all bounds.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value; one at a bound is below it, as Prometheus has it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper end, how many values up to there), as Prometheus wants it."""
        ends = [*(repr(float(bound)) for bound in self.bounds), "+Inf"]
        found, so_far = [], 0
        for end, count in zip(ends, self.counts, strict=True):
            so_far += count
            found.append((end, float(so_far)))
        return found


class Readings:
    """Numbers of one moment: metric and values of its labels -> value."""

    def __init__(self) -> None:
        self._found: dict[str, dict[tuple[str, ...], float | Spread]] = {}

    def put(self, name: str, value: float | Spread, *labels: str) -> None:
        """Set one series; the values of labels are cut at :data:`LABEL_MAX` characters."""
        self._found.setdefault(name, {})[tuple(label[:LABEL_MAX] for label in labels)] = value

    def of(self, name: str) -> dict[tuple[str, ...], float | Spread]:
        """All series of a metric; {} when nothing was read."""
        return self._found.get(name, {})

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def update(self, other: Readings) -> None:
        """Take over what another one has read."""
        for name in other:
            self._found.setdefault(name, {}).update(other.of(name))
