"""Accuracy: the share of texts or examples whose last token, or answer, is the one that the model expects most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from coordinator.acceptance.asking.evaluate import score_examples
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import SHARE, Metric
from coordinator.acceptance.models.subject import Subject

__all__ = ["Accuracy"]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """1 where the last token, or the answer, is known, else 0; a line of a data set has a ``text``."""

    name: ClassVar[str] = "accuracy"
    takes: ClassVar[Takes] = "either"
    version: ClassVar[int] = 1

    @property
    def metric(self) -> Metric:
        return SHARE

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        return Measured(score_examples(subject, examples).last_right_N.astype(np.float64))
