"""Slerp: from one of two updates towards the other along a circle, so that no length is lost on the way.

The mean of two updates that point apart is shorter than both; a point on the circle between
them is not. Each tensor has its own angle. The factors follow from inner products alone, so
it does for changes and for whole weights alike. The angle is that of the directions, the
factors are applied to the updates as they are.

K  updates in the round: two, in the order of their digests
P  elements of the segment being merged, flattened

Formula: merged = sin((1 - t) * a) / sin(a) * x_1 + sin(t * a) / sin(a) * x_2, cos(a) = <x_1, x_2> / (|x_1| * |x_2|),
    for each tensor; (1 - t) * x_1 + t * x_2 where sin(a) < 0.0001 or a tensor does not change
Divisor: none; weights do not count, t does.
Ties: none, nothing is compared.
Tolerates: none; one liar is half of the result.
Cost: inner products of one pair, then one pass over the elements; no memory beside the result.
Source: Shoemake 1985, "Animating rotation with quaternion curves" (slerp), https://doi.org/10.1145/325334.325242
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from barnraise.errors import MergeError
from merge.angles import angle, sine_and_cosine
from merge.elementwise import weighted_sum
from merge.strategies.options import require
from merge.strategies.rule import Rows, Scope, require_updates

__all__ = ["NEARLY_PARALLEL", "Slerp"]

NEARLY_PARALLEL = 1e-4  # a sine below which a straight line differs from the circle by less than float32 shows


@dataclass(frozen=True, slots=True)
class Slerp:
    """Spherical linear interpolation between two updates.

    Attributes:
        t: how far to go from the first update (0) to the second (1), in [0, 1].
    """

    name: ClassVar[str] = "slerp"
    scope: ClassVar[Scope] = "tensor"
    linear: ClassVar[bool] = True
    t: float = 0.5

    def __post_init__(self) -> None:
        require(self, "t", 0 <= self.t <= 1, "a number in [0, 1]")

    @property
    def min_updates(self) -> int:
        return 2

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """The factors of both updates, float64 [2].

        Args:
            gram_KK: float64 [2, 2], inner products of the updates.
            weights_K: float64 [2]. Not used.

        Raises:
            NotEnoughUpdatesError: there is one update only.
            MergeError: there are more than two.
        """
        require_updates(self, len(gram_KK))
        if len(gram_KK) > 2:
            raise MergeError(f"{len(gram_KK)} updates to merge, slerp goes between two. Use multi-slerp.")
        (first, inner), (_, second) = gram_KK.tolist()
        straight = torch.tensor([1 - self.t, self.t], dtype=torch.float64)
        if first <= 0 or second <= 0:
            return straight
        radians = angle(inner / (sqrt(first) * sqrt(second)))
        sine, _ = sine_and_cosine(radians)
        if sine < NEARLY_PARALLEL:
            return straight
        left, _ = sine_and_cosine((1 - self.t) * radians)
        right, _ = sine_and_cosine(self.t * radians)
        return torch.tensor([left / sine, right / sine], dtype=torch.float64)

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge one segment.

        Args:
            deltas_KP: two tensors float32 [P], decoded updates, finite.
            weights_K: float [2], what ``weigh`` returned.

        Returns:
            float32 [P], parameter minus base.

        Raises:
            NotEnoughUpdatesError: there is one update only.
        """
        require_updates(self, len(deltas_KP))
        return weighted_sum(deltas_KP, weights_K.to(torch.float32))
