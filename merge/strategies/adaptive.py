"""What FedAdagrad, FedAdam and FedYogi share: a step divided by the size of recent changes.

    m    <- beta1 * m + (1 - beta1) * merged
    v    <- by each rule
    step  = learning_rate * m / (sqrt(v) + tau)

There is no bias correction, as in the paper; v starts at tau^2. All is float32, every
multiply, add, division and root rounded on its own. Squares that do not fit stay at the
largest number, so that one wild round does not leave an infinity behind for ever.

P  elements of the segment being merged, flattened

Source: Reddi et al. 2021 (Adaptive Federated Optimization, algorithm 2), https://arxiv.org/abs/2003.00295
"""

from __future__ import annotations

import torch
from torch import Tensor

from merge.strategies.options import require
from merge.strategies.outer import State

__all__ = ["SLOTS", "adaptive_state", "adaptive_step", "decayed", "limited", "require_adaptive", "square"]

SLOTS = ("momentum", "squares")
LARGEST = torch.finfo(torch.float32).max


def require_adaptive(rule: object, learning_rate: float, betas: dict[str, float], tau: float) -> None:
    """Refuse hyperparameters out of range.

    Raises:
        UnknownStrategyError: one is.
    """
    require(rule, "learning_rate", 0 < learning_rate < float("inf"), "a number above 0")
    for field, beta in betas.items():
        require(rule, field, 0 <= beta < 1, "a share in [0, 1)")
    require(rule, "tau", 1e-9 <= tau <= 1e9, "a number in [1e-9, 1e9]")


def adaptive_state(size: int, tau: float) -> State:
    """Before the first round: no momentum, float32 [size], and squares of tau^2."""
    return {"momentum": torch.zeros(size), "squares": torch.full((size,), tau * tau)}


def square(merged_P: Tensor) -> Tensor:
    """float32 [P], finite."""
    return limited(torch.mul(merged_P, merged_P))


def limited(squares_P: Tensor) -> Tensor:
    """Squares, or sums of them, with the largest float32 for an infinity."""
    return torch.clamp(squares_P, max=LARGEST)


def decayed(last_P: Tensor, new_P: Tensor, beta: float) -> Tensor:
    """``beta * last + (1 - beta) * new``, float32 [P]."""
    return torch.add(torch.mul(last_P, beta), torch.mul(new_P, 1.0 - beta))


def adaptive_step(momentum_P: Tensor, squares_P: Tensor, learning_rate: float, tau: float) -> Tensor:
    """``learning_rate * momentum / (sqrt(squares) + tau)``, float32 [P]."""
    sizes_P = torch.add(torch.sqrt(squares_P), tau)
    return torch.mul(torch.div(momentum_P, sizes_P), learning_rate)
