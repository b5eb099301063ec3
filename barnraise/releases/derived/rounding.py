"""A parent's tensor in the type that its child is stored in, so that the two can be compared.

Whoever fine-tunes in bfloat16 begins at the rounded parent, so that is what the child's bits are
near to. It is only a prediction: what is stored is the exact difference from it.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import FLOATS
from barnraise.releases.convert import Stored, convert, widen

__all__ = ["in_type"]


def in_type(data: NDArray[np.uint8], dtype: str, wanted: str) -> NDArray[np.uint8] | None:
    """The bytes of a tensor in another type; None where there is no one answer.

    Args:
        data: uint8, little-endian elements of ``dtype``. Returned as it is where the types agree.
    """
    if dtype == wanted:
        return data
    if dtype not in FLOATS or wanted not in FLOATS:
        return None
    if "F16" in (dtype, wanted) and _has_nan(data, dtype):  # which NaN it becomes is the processor's choice
        return None
    try:
        return convert(data, dtype, wanted)
    except OverflowError:
        return None


def _has_nan(data: NDArray[np.uint8], dtype: str) -> bool:
    return bool(np.isnan(widen(data, cast(Stored, dtype))).any())
