"""What a kind of acceptance test is: examples and a model in, one number an example out.

A kind is a frozen dataclass; its fields are the test's ``options``. It knows nothing of bases,
margins or verdicts: two models are measured alike, and ``verdict.py`` compares what came out.

N  examples
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.examples import Examples
from coordinator.acceptance.metric import Metric
from coordinator.acceptance.subject import Subject

__all__ = ["Kind", "Measured", "Takes"]

Takes = Literal["windows", "rows", "either", "nothing"]


@dataclass(frozen=True)
class Measured:
    """What a test finds of one model.

    Attributes:
        values_N: float64 [N], the metric on each example; of a budget, the one number.
        notes: what else is worth reporting, JSON values; nothing is decided by it.
    """

    values_N: NDArray[np.float64]
    notes: Mapping[str, Any] = field(default_factory=dict)


class Kind(Protocol):
    """A kind of test.

    Attributes:
        name: as a suite says it. takes: the examples that it can read.
        version: raised when the same model and examples would be measured otherwise; kept values are then not used.
    """

    name: ClassVar[str]
    takes: ClassVar[Takes]
    version: ClassVar[int]

    @property
    def metric(self) -> Metric: ...

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        """Measure a model.

        Raises:
            AcceptanceError: an example that this kind cannot read.
        """
        ...
