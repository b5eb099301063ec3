"""AdamW's moments from one unit to the next, as blobs beside the residual.

A worker of DiLoCo keeps its inner optimiser's state from round to round. A volunteer does too:
with fresh moments the first steps of every unit are spent on learning them again. They are two
vectors as large as the model, stay on the volunteer's disk, and cost no byte on the wire.

They are worth little enough that nothing fails for want of them: moments that are damaged, or of
another parameter space or other settings, are dropped with a reason, and AdamW begins anew.

P  elements in the whole parameter space

Source: Douillard et al. 2023, https://arxiv.org/abs/2311.08105
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from barnraise.config import TrainingConfig
from barnraise.errors import BlobMissingError, VerificationError
from barnraise.updates.space import ParameterSpace
from contributor.folder import NodeFolder
from contributor.state import KeptMoments, NodeState
from contributor.training.trainer import Moments

__all__ = ["load_moments", "store_moments"]


def store_moments(put: Callable[[NDArray[np.float32]], str], moments: Moments, training: TrainingConfig) -> KeptMoments:
    """Have the vectors kept as blobs; what a state must say to find them again.

    Args:
        put: keeps a float32 [P] vector, and returns its digest.
    """
    return KeptMoments(
        steps=moments.steps,
        first=put(moments.first_P),
        second=put(moments.second_P),
        beta1=training.beta1,
        beta2=training.beta2,
        clip_grad_norm=training.clip_grad_norm,
    )


def load_moments(
    folder: NodeFolder, state: NodeState, space: ParameterSpace, training: TrainingConfig
) -> Moments | str:
    """The moments of ``state``, which has some, or in words why a unit cannot begin with them."""
    kept = state.moments
    assert kept is not None, "there are no moments to load"
    if state.space != space.digest:
        return "they belong to a model with other parameters"
    for setting in ("beta1", "beta2", "clip_grad_norm"):
        was, now = getattr(kept, setting), getattr(training, setting)
        if was != now:
            return f"they were averaged with {setting} {was:g}, this unit has {now:g}"
    try:
        first_P, second_P = folder.vector(kept.first, space.size), folder.vector(kept.second, space.size)
    except (BlobMissingError, VerificationError):
        return f"a file of theirs in {folder.root} is missing or damaged"
    if kept.steps < 1 or not (np.isfinite(first_P).all() and np.isfinite(second_P).all() and (second_P >= 0).all()):
        return "they are not moments: a value is not finite, a second one negative, or no step was counted"
    return Moments(kept.steps, first_P, second_P)
