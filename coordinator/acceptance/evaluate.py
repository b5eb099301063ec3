"""Score a model on held-out windows.

Scoring is total: parameters of any size give finite scores. A model that overflows gives the
right byte no chance, and is scored so, rather than stopping the suite.

N  windows
B  windows in a batch
T  bytes of a window that are predicted
V  vocabulary, 256
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from barnraise.config import ModelConfig
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.scores import CODE_VERSION, WORST_BITS, Scores
from merge.architectures import build, load_flat

__all__ = ["CODE_VERSION", "Scores", "scores"]

BATCH = 32


def scores(
    flat_P: NDArray[np.float32], model: ModelConfig, space: ParameterSpace, windows: NDArray[np.uint8]
) -> Scores:
    """Loss and last-byte accuracy of a model on every window, on the CPU in float32.

    Args:
        flat_P: float32 [P], the model's parameters in ``space``; finite or not.
        windows: uint8 [N, T + 1], N above 0; each byte but the first is predicted from those before it.
    """
    module = build(model).eval()
    load_flat(module, space, flat_P)
    bits, correct = [], []
    with torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            windows_BT1 = torch.from_numpy(windows[start : start + BATCH].astype(np.int64))
            targets_BT = windows_BT1[:, 1:]
            logits_BTV = module(windows_BT1[:, :-1]).float()
            bits.append(_bits_per_byte(logits_BTV, targets_BT).numpy())
            correct.append(_last_is_right(logits_BTV, targets_BT).numpy())
    return Scores(np.concatenate(bits), np.concatenate(correct))


def _bits_per_byte(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean loss of each window, float64 [B]; what is not finite counts as ``WORST_BITS``."""
    nats_BT = functional.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="none").double()
    bits_BT = torch.nan_to_num(nats_BT / math.log(2), nan=WORST_BITS, posinf=WORST_BITS)
    return bits_BT.clamp(0.0, WORST_BITS).mean(dim=1)


def _last_is_right(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Whether the last byte is the most likely one, bool [B]; never for logits that are not finite."""
    last_BV = logits_BTV[:, -1]
    return (last_BV.argmax(dim=-1) == targets_BT[:, -1]) & torch.isfinite(last_BV).all(dim=-1)
