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

from typing import Protocol

import torch
from torch import Tensor

from merge.strategies.options import require
from merge.strategies.outer import State

__all__ = ["SLOTS", "Adaptive", "adaptive_state", "adaptive_step", "decayed", "require_adaptive", "square"]

SLOTS = ("momentum", "squares")
LARGEST = torch.finfo(torch.float32).max


class Adaptive(Protocol):
    """Hyperparameters that the three have in common."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def beta1(self) -> float: ...

    @property
    def tau(self) -> float: ...


def require_adaptive(rule: Adaptive) -> None:
    """Refuse hyperparameters out of range; ``beta2`` is looked at where a rule has one.

    Raises:
        UnknownStrategyError: one is.
    """
    require(rule, "learning_rate", 0 < rule.learning_rate < float("inf"), "a number above 0")
    for field in ("beta1", "beta2"):
        require(rule, field, 0 <= getattr(rule, field, 0.0) < 1, "a share in [0, 1)")
    require(rule, "tau", 1e-9 <= rule.tau <= 1e9, "a number in [1e-9, 1e9]")


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


def adaptive_step(rule: Adaptive, merged_P: Tensor, state: State, squares_P: Tensor) -> tuple[Tensor, State]:
    """One outer step, given the next squares, float32 [P], by the rule's own recursion.

    Args:
        merged_P: float32 [P], what the strategy made of the updates.
        state: as the last release left it.

    Returns:
        ``learning_rate * momentum / (sqrt(squares) + tau)``, float32 [P], and the next momentum and squares.
    """
    momentum_P = decayed(state["momentum"], merged_P, rule.beta1)
    squares_P = limited(squares_P)
    sizes_P = torch.add(torch.sqrt(squares_P), rule.tau)
    step_P = torch.mul(torch.div(momentum_P, sizes_P), rule.learning_rate)
    return step_P, {"momentum": momentum_P, "squares": squares_P}
