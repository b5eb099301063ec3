"""What says which elements of a model a mask should have: how much the loss depends on each, or how large it is.

P  elements of the whole space

Source: Sung, Nair and Raffel 2021, https://arxiv.org/abs/2111.09839, for the diagonal of the empirical
    Fisher; Kirkpatrick et al. 2017, https://arxiv.org/abs/1612.00796
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.errors import NonFiniteUpdateError
from barnraise.updates.space import ParameterSpace
from contributor.tasks import Task
from merge.architectures import load_flat

__all__ = ["fisher_scores", "magnitude_scores", "random_scores"]

Vector = NDArray[np.float32]


def fisher_scores(tasks: Sequence[Task], space: ParameterSpace, base_P: Vector, examples: int, seed: int) -> Vector:
    """The mean over examples of each gradient squared, float32 [P].

    Args:
        tasks: one for each shard, all of one model.
        examples: of each task, one at a time: squares of a batch's gradient would be something else.

    Raises:
        NonFiniteUpdateError: the model has a loss that is not finite.
    """
    module = tasks[0].module()
    load_flat(module, space, base_P)
    parameters = dict(module.named_parameters())
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for task in tasks:
        for step in range(examples):
            found = task.loss(module, task.batch(seed, step, 1))
            gradients = torch.autograd.grad(found.total / found.count, list(parameters.values()), allow_unused=True)
            for total, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient)
    scores_P = space.flatten({name: (total / (examples * len(tasks))).numpy() for name, total in sums.items()})
    if not np.isfinite(scores_P).all():
        raise NonFiniteUpdateError("the model's loss has gradients that are not finite; make the mask of another model")
    return scores_P


def magnitude_scores(base_P: Vector) -> Vector:
    """How large each element is, float32 [P]."""
    return np.abs(base_P)


def random_scores(size: int, seed: int) -> Vector:
    """Anything, above zero, float32 [P]: what the others are compared with."""
    return 1.0 - np.random.default_rng(seed).random(size, dtype=np.float32)
