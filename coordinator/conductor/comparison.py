"""How two models of one layout differ: how far, in how many elements, and in which tensors most.

P  elements of the whole space
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.updates.space import ParameterSpace
from coordinator.conductor.desk import Desk
from merge.exact import square_sum

__all__ = ["compare_models", "difference"]


def compare_models(desk: Desk, old: str, new: str) -> dict[str, Any]:
    """The difference of two models in the cache, by their digests; a task."""
    return difference(desk.space, desk.models.get(old), desk.models.get(new))


def difference(space: ParameterSpace, old_P: NDArray[np.float32], new_P: NDArray[np.float32]) -> dict[str, Any]:
    """Norm of ``new - old``, as it is and in relation to ``old``, and the share of elements that differ.

    Returns:
        ``{"norm", "relative_norm", "changed", "tensors": [{"name", "norm", "changed"}, ..]}``, tensors sorted by
        norm, the most changed one first; the norm of a vector of zeros makes ``relative_norm`` None.
    """
    tensors, squares, base_squares, changed = [], 0.0, 0.0, 0
    for spec, start, end in zip(space.tensors, space.tensor_starts[:-1], space.tensor_starts[1:], strict=True):
        old_T, new_T = np.asarray(old_P[start:end]), np.asarray(new_P[start:end])
        square = square_sum(torch.from_numpy(new_T - old_T))
        different = int(np.count_nonzero(old_T.view(np.uint32) != new_T.view(np.uint32)))
        tensors.append({"name": spec.name, "norm": math.sqrt(square), "changed": different / spec.size})
        squares += square
        base_squares += square_sum(torch.from_numpy(old_T.copy()))
        changed += different
    return {
        "norm": math.sqrt(squares),
        "relative_norm": math.sqrt(squares / base_squares) if base_squares else None,
        "changed": changed / space.size,
        "tensors": sorted(tensors, key=lambda row: (-float(str(row["norm"])), row["name"])),
    }
