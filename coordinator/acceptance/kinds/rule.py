"""What a kind of acceptance test is: examples and a model in, one number an example out.

A kind is a frozen dataclass; its fields are the test's ``options``. It knows nothing of bases,
margins or verdicts: two models are measured alike, and ``verdict.py`` compares what came out.

Three names of fields are not options: ``direction`` and ``examples`` get what the test says under
these keys, ``passed_on`` gets all options that no other field has.

N  examples
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.examples import Examples
from coordinator.acceptance.metric import Metric
from coordinator.acceptance.models.subject import Subject

__all__ = ["Budget", "Failure", "Found", "Kind", "Measured", "Takes"]

Takes = Literal["windows", "rows", "either", "nothing", "rows or nothing"]


@dataclass(frozen=True)
class Measured:
    """What a test finds of one model.

    Attributes:
        values_N: float64 [N], the metric on each example; of a budget, the one number.
        notes: what else is worth reporting, JSON values; nothing is decided by it.
    """

    values_N: NDArray[np.float64]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A test could not measure a model: it crashed, took too long or too much memory. ``reason`` says which."""

    reason: str


Found = Measured | Failure


class Kind(Protocol):
    """A kind of test.

    Attributes:
        name: as a suite says it. takes: the examples that it can read.
        version: raised when the same model and examples would be measured otherwise; kept values are then not used.
    """

    name: ClassVar[str]
    takes: ClassVar[Takes]

    @property
    def version(self) -> int | str: ...

    @property
    def metric(self) -> Metric: ...

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        """Measure a model.

        Raises:
            AcceptanceError: an example that this kind cannot read.
        """
        ...


@runtime_checkable
class Budget(Protocol):
    """A kind that gives one number, which may not be above a limit, nor by the test's margin above the base's."""

    @property
    def limit(self) -> float | None:
        """In the metric's unit; None: there is none."""
        ...
