"""A few steps of AdamW on a byte-level model, always the same ones.

What a batch holds follows from the seed and the number of the step alone. On the CPU, with one
number of threads, the result has the same bits every time. A model that overflows stays one: it
is scored, not refused.

B  windows in a batch
T  the model's context
P  elements in the whole parameter space
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from barnraise.errors import AcceptanceError
from barnraise.model_config import ByteLMConfig
from barnraise.updates.space import ParameterSpace
from merge.architectures import build, flat_of, load_flat

__all__ = ["Tuning", "tune"]

CLIP_GRAD_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """How to continue training. No warm-up, no weight decay: there are few steps, from a model that is trained."""

    steps: int
    learning_rate: float = 1e-3
    batch: int = 8
    seed: int = 0


def tune(
    start_P: NDArray[np.float32], model: ByteLMConfig, space: ParameterSpace, texts: Sequence[bytes], tuning: Tuning
) -> NDArray[np.float32]:
    """The model after these steps, float32 [P]; the learning rate falls linearly towards 0.

    Args:
        texts: what it is trained on, as one text with line ends between them.

    Raises:
        AcceptanceError: the texts are shorter than one window.
    """
    text_N = np.frombuffer(b"\n".join(texts), dtype=np.uint8)
    width = model.context + 1
    if len(text_N) < width:
        raise AcceptanceError(f"there are {len(text_N):,} bytes to train on, a window needs {width:,}; add lines")
    module = build(model)
    load_flat(module, space, start_P)
    module.train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=tuning.learning_rate, weight_decay=0.0)
    for step in range(tuning.steps):
        for group in optimiser.param_groups:
            group["lr"] = tuning.learning_rate * (1 - step / tuning.steps)
        starts_B = np.random.default_rng([tuning.seed, step]).integers(0, len(text_N) - width + 1, size=tuning.batch)
        optimiser.zero_grad(set_to_none=True)
        loss = module.loss(torch.from_numpy(text_N[starts_B[:, None] + np.arange(width)]))
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), CLIP_GRAD_NORM)
        optimiser.step()
    return flat_of(module, space)
