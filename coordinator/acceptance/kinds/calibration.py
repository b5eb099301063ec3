"""Calibration: is the model as sure as it is right?

The value of an example is the squared difference between the chance that the model gives its own
favourite and whether that is right (the Brier score of its confidence). A model that is right when
it is sure and unsure when it is wrong has little of it, so a model that knows nothing and says so
has little as well: put this test beside one of what the model knows.

The notes have the expected calibration error: examples in bins of equal width by their confidence,
and the mean difference between confidence and share of right ones, weighted by how many there are.

Source: Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; Naeini et al.
2015, https://doi.org/10.1609/aaai.v29i1.9602, and Guo et al. 2017, https://arxiv.org/abs/1706.04599
(expected calibration error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coordinator.acceptance.asking.choices import Answered, score_choices
from coordinator.acceptance.asking.evaluate import score_examples
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import BRIER, Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["Calibration"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Brier score of the model's favourite.

    A line has a ``text``, of whose last token it is, or all of them are questions: ``prompt``, ``choices``, ``answer``.

    Attributes:
        bins: of the expected calibration error.
    """

    name: ClassVar[str] = "calibration"
    takes: ClassVar[Takes] = "either"
    version: ClassVar[int] = 1
    bins: int = 10

    def __post_init__(self) -> None:
        require(self, "bins", 2 <= self.bins <= 100, "a number from 2 to 100")

    @property
    def metric(self) -> Metric:
        return BRIER

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        if examples.rows and "choices" in examples.rows[0]:
            sure_N, right_N = _favourites(score_choices(subject, examples, "none"))
        else:
            scored = score_examples(subject, examples)
            sure_N, right_N = scored.last_p_N, scored.last_right_N.astype(np.float64)
        return Measured((sure_N - right_N) ** 2, calibration_error(sure_N, right_N, self.bins))


def calibration_error(sure_N: NDArray[np.float64], right_N: NDArray[np.float64], bins: int) -> dict[str, Any]:
    """The expected calibration error, and the bins that it comes from.

    Args:
        sure_N: float64 [N], in [0, 1]. right_N: float64 [N], 0 or 1.
    """
    which_N = np.minimum((sure_N * bins).astype(np.int64), bins - 1)
    rows, error = [], 0.0
    for index in range(bins):
        here = which_N == index
        count = int(here.sum())
        if count:
            sure, right = float(sure_N[here].mean()), float(right_N[here].mean())
            error += count / len(sure_N) * abs(sure - right)
            rows.append({"from": index / bins, "to": (index + 1) / bins, "n": count, "sure": sure, "right": right})
    return {"expected_calibration_error": error, "bins": rows}


def _favourites(answered: list[Answered]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How sure the model is of the choice that it finds likeliest, among them, and whether that is right."""
    sure, right = [], []
    for one in answered:
        chances = np.exp2(one.bits.min() - one.bits)
        sure.append(1.0 / chances.sum() if one.finite else 1.0)
        right.append(one.right)
    return np.array(sure, dtype=np.float64), np.array(right, dtype=np.float64)
