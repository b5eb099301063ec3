"""A model's scores, one a held-out window, so that two models can be compared window by window.

N  windows
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CODE_VERSION", "WORST_BITS", "Scores"]

CODE_VERSION = 1
"""Raise this when the same model and windows would get other scores: kept ones are then not reused."""

WORST_BITS = 64.0
"""Bits per byte of a model that gives a byte no chance at all. Guessing costs 8."""


@dataclass(frozen=True)
class Scores:
    """Scores of one model.

    Attributes:
        bits_per_byte: float64 [N], mean loss over the window, in [0, ``WORST_BITS``].
        correct: bool [N], whether the window's last byte was the most likely one.
    """

    bits_per_byte: NDArray[np.float64]
    correct: NDArray[np.bool_]
