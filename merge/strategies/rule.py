"""What a strategy is: the interfaces, smallest first, and the weights that they share.

A strategy turns the updates of a round into one change. What every strategy has is
:class:`Strategy`: hyperparameters as fields, and ``combine``, element by element. Some must
know more than the elements at hand, and have one earlier method for it:

    SumsUpdates      a weighted sum whose factors follow from the weights alone: the mean
    WeighsUpdates    distances between whole updates (or whole tensors) become weights: Krum
    PrunesUpdates    elements of each update are dropped by size or by lot: TIES, DARE
    UsesFisher       a diagonal Fisher of each update comes along
    MergesMatrices   whole weight matrices with their inputs' Gram matrices: RegMean

A :class:`PreAggregation` replaces the updates by mixtures of them before any strategy. An
outer rule (``outer.py``) turns the merged change into the step that the trunk takes. All are
frozen dataclasses. :mod:`merge.plan` calls the earlier methods, :mod:`merge.segment` the rest.

K  updates in the round, in the order of their digests
L  mixtures that a pre-aggregation makes of them
P  elements of the segment (or of a block of it) being merged, flattened
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from barnraise.errors import MergeError, NotEnoughUpdatesError

if TYPE_CHECKING:  # so that a rule that only adds models up can be had without torch
    from torch import Tensor

    from merge.draws import Draws
    from merge.magnitudes import Magnitudes
    from merge.prune import Pruning

__all__ = [
    "Agreement",
    "MergesMatrices",
    "PreAggregation",
    "PrunesUpdates",
    "Rows",
    "Scope",
    "Strategy",
    "SumsUpdates",
    "UsesFisher",
    "WeighsUpdates",
    "require_updates",
    "shares",
    "shares_of",
]

Rows: TypeAlias = "Sequence[Tensor]"
"""K tensors float32 [P]; never stacked, so that they may lie in mapped files."""

Scope = Literal["model", "tensor"]
"""What distances and weights are about: whole updates, or every tensor on its own."""


class Strategy(Protocol):
    """How updates become one change. Element-wise, so a segment may be merged block by block."""

    name: ClassVar[str]

    @property
    def min_updates(self) -> int:
        """Fewest updates with which the rule keeps its promise."""
        ...

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge K tensors float32 [P] into float32 [P]; ``weights_K`` is float32 [K]."""
        ...


@runtime_checkable
class SumsUpdates(Protocol):
    """A strategy that is a weighted sum, whatever the updates look like.

    Clipping and mixing are then folded into the factors, and the elements are read once.
    """

    def factors(self, weights: Sequence[float]) -> list[float]:
        """What ``combine`` multiplies each of the K updates by, from their weights."""
        ...


@runtime_checkable
class WeighsUpdates(Protocol):
    """A strategy that must see whole updates first.

    Attributes:
        scope: whether it weighs whole updates or every tensor on its own.
        linear: ``combine`` is ``weighted_sum`` with just the weights that ``weigh`` returned.
    """

    scope: ClassVar[Scope]
    linear: ClassVar[bool]

    def weigh(self, gram_KK: Tensor, weights_K: Tensor) -> Tensor:
        """The weights for ``combine``, float64 [K], from inner products float64 [K, K] and weights float64 [K]."""
        ...


class Agreement(Protocol):
    """What pruned updates agree on; see :mod:`merge.strategies.consensus`."""

    def combine(
        self,
        deltas_KP: Rows,
        weights_K: Tensor,
        prunings: Sequence[Pruning] | None = None,
        clipping_K: Tensor | None = None,
    ) -> Tensor:
        """Prune K tensors float32 [P], multiply each by its clipping factor, float64 [K], and combine: float32 [P]."""
        ...


@runtime_checkable
class PrunesUpdates(Protocol):
    """A strategy that drops elements of every update before it combines them.

    Attributes:
        by_magnitude: ``pruning`` needs the magnitudes of the whole tensor.
        agreement: how what is left is combined, in the same pass where nothing is mixed in between.
    """

    by_magnitude: ClassVar[bool]

    @property
    def agreement(self) -> Agreement: ...

    def pruning(self, magnitudes: Magnitudes | None, draws: Draws) -> Pruning:
        """What is kept of one update's tensor.

        Args:
            magnitudes: of the whole tensor of this update; None unless ``by_magnitude``.
            draws: one number in [0, 1) for each element, the same however a tensor is cut.
        """
        ...


@runtime_checkable
class UsesFisher(Protocol):
    """A strategy that weighs every element by how sure its update is of it."""

    def combine_with_fisher(self, deltas_KP: Rows, fishers_KP: Rows, weights_K: Tensor) -> Tensor:
        """Merge K tensors float32 [P], given as many diagonal Fishers (not negative), into float32 [P]."""
        ...


@runtime_checkable
class MergesMatrices(Protocol):
    """A strategy for whole matrices, given the Gram matrices of what went into them."""

    def combine_matrices(self, deltas_KOI: Rows, grams_KII: Rows, weights_K: Tensor) -> Tensor:
        """Merge K matrices float32 [O, I], given ``X^T X`` of their inputs, float32 [I, I], into float32 [O, I]."""
        ...


class PreAggregation(Protocol):
    """What is done to the updates before a strategy sees them: mixing them."""

    name: ClassVar[str]

    def needed(self, mixtures: int) -> int:
        """Fewest updates of which it makes at least ``mixtures`` mixtures and keeps its promise."""
        ...

    def mix(self, gram_KK: Tensor, weights_K: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """How L mixtures are made of K updates, and the mixtures' weights.

        Args:
            gram_KK: float64 [K, K], inner products of the updates as they are now.
            weights_K: float64 [K].
            seed: of whatever is drawn by lot; the same for everybody who merges this round.

        Returns:
            float64 [L, K], a row for every mixture, and float64 [L].

        Raises:
            NotEnoughUpdatesError: too few updates to keep its promise.
        """
        ...


def require_updates(strategy: Strategy, found: int) -> None:
    """Refuse a round that is too small for its strategy.

    Raises:
        NotEnoughUpdatesError: fewer than ``strategy.min_updates``.
    """
    if found < strategy.min_updates:
        raise NotEnoughUpdatesError(
            f"{found} updates to merge, {strategy} needs at least {strategy.min_updates}; "
            "raise round.min_updates, or change [merge] strategy and options"
        )


def shares(weights_K: Tensor) -> Tensor:
    """:func:`shares_of` as a tensor of the weights' dtype, float32 or float64 [K]."""
    return weights_K.new_tensor(shares_of(weights_K.double().tolist()))


def shares_of(weights: Sequence[float]) -> list[float]:
    """Each update's share of the sum; the share of a single update is exactly 1.

    Args:
        weights: of K updates, finite and not negative, at least one above zero.

    Raises:
        MergeError: anything else, as when every contributor states 0 tokens.
    """
    total = 0.0
    for weight in weights:  # in the order of the digests, in float64
        total += weight
    if not math.isfinite(total) or total <= 0 or min(weights) < 0:
        raise MergeError(
            f"the weights of {len(weights)} updates sum to {total:g}, lowest {min(weights, default=0.0):g}; "
            "expected finite weights above zero. Set merge.weight_by = 'equal'."
        )
    return [weight / total for weight in weights]
