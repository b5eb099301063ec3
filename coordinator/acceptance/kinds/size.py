"""Size: bytes of the model's parameters, as they are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import BYTES, Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """One number: the bytes of all parameters.

    Attributes:
        limit_bytes: a model may never be larger.
    """

    name: ClassVar[str] = "size"
    takes: ClassVar[Takes] = "nothing"
    version: ClassVar[int] = 1
    limit_bytes: float = math.inf

    def __post_init__(self) -> None:
        require(self, "limit_bytes", self.limit_bytes > 0, "a number above 0")

    @property
    def metric(self) -> Metric:
        return BYTES

    @property
    def limit(self) -> float | None:
        return self.limit_bytes if math.isfinite(self.limit_bytes) else None

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        return Measured(np.array([subject.size_bytes], dtype=np.float64))
