"""The ``dense`` codec: every element as little-endian float32, bit for bit.

P  elements of the segment
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonFiniteUpdateError
from barnraise.updates.codec import EncodedSegment, check_length

__all__ = ["decode", "encode"]


def encode(values_P: NDArray[np.float32]) -> EncodedSegment:
    """Encode float32 [P], finite."""
    return EncodedSegment(b"", np.ascontiguousarray(values_P, dtype="<f4").tobytes(), b"")


def decode(segment: EncodedSegment, size: int) -> NDArray[np.float32]:
    """float32 [P].

    Raises:
        TruncatedUpdateError, NonCanonicalUpdateError, NonFiniteUpdateError
    """
    check_length("support", segment.support, 0)
    check_length("scales", segment.scales, 0)
    check_length("levels", segment.levels, 4 * size)
    values_P = np.frombuffer(segment.levels, dtype="<f4").astype(np.float32)
    if not np.isfinite(values_P).all():
        raise NonFiniteUpdateError(f"{int((~np.isfinite(values_P)).sum())} of {size} elements are NaN or infinite")
    return values_P
