"""Everything about a merge that is decided before an element is touched.

    inner products -> norm clipping -> pre-aggregations -> the strategy's weights -> plan

All of it is arithmetic on a few numbers for every update, in float64 and in a fixed order;
what mixes updates is a matrix, so mixing the updates mixes their inner products alike and
nothing has to be measured twice. :mod:`merge.segment` carries a plan out.

K  updates in the round, in the order of their digests
L  mixtures that are left when the pre-aggregations are done; K without them
T  tensors of the model
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from barnraise.errors import NotEnoughUpdatesError
from merge.clip import clip_factors
from merge.exact import product, tree_sum
from merge.measure import Measured
from merge.rules import MergeRules
from merge.strategies.rule import WeighsUpdates, require_updates

__all__ = ["Decided", "MergePlan", "MergeRules", "clipping", "plan_merge"]


@dataclass(frozen=True)
class Decided:
    """What was decided about one tensor, or about all.

    Attributes:
        mixing_LK: float64; row l says what mixture l is made of. Clipping is in it.
        weights_L: float64, for ``Strategy.combine``.
    """

    mixing_LK: Tensor
    weights_L: Tensor

    @property
    def factors(self) -> Tensor | None:
        """float64 [K] if each mixture is one update times a factor, in order; else None."""
        mixing = self.mixing_LK
        if mixing.shape[0] != mixing.shape[1] or bool((mixing - torch.diag(mixing.diagonal())).any()):
            return None
        return mixing.diagonal()

    @property
    def shares(self) -> Tensor:
        """float64 [K], what part each update has in the weighted sum; zeros where nothing has weight."""
        coefficients_K = product(self.weights_L[None, :], self.mixing_LK)[0]
        weight = tree_sum(self.weights_L)
        return torch.div(coefficients_K, weight) if bool(weight > 0) else torch.zeros_like(coefficients_K)


@dataclass(frozen=True)
class MergePlan:
    """The decisions of a merge.

    Attributes:
        by_tensor: one for every tensor number, where the strategy's scope is ``tensor``.
        whole: for every other tensor.
    """

    whole: Decided
    by_tensor: dict[int, Decided]

    def of(self, tensor: int) -> Decided:
        return self.by_tensor.get(tensor, self.whole)


def plan_merge(measured: Measured, weights: Sequence[float], rules: MergeRules) -> MergePlan:
    """Decide how a round's updates are merged.

    Args:
        measured: of every tensor.
        weights: of each update, set by the coordinator.

    Raises:
        NotEnoughUpdatesError: too few for the strategy, or for the mixtures that it then gets.
        MergeError: weights that cannot be used.
    """
    _require_enough(rules, len(weights))
    weights_K = torch.tensor(weights, dtype=torch.float64)
    gram_KK = _summed(measured, len(weights))
    clipping_KK = torch.diag(clipping(measured, len(weights), rules.clip_norm_at))
    whole = _decide(gram_KK, clipping_KK, weights_K, rules)
    strategy = rules.strategy
    if not (isinstance(strategy, WeighsUpdates) and strategy.scope == "tensor"):
        return MergePlan(whole, {})
    by_tensor = {t: _decide(found.gram_KK, clipping_KK, weights_K, rules) for t, found in measured.items()}
    return MergePlan(whole, by_tensor)


def clipping(measured: Measured, updates: int, clip_norm_at: float | None) -> Tensor:
    """The factor of every update that brings its norm down, float64 [K]; 1 where nothing is clipped."""
    if clip_norm_at is None:
        return torch.ones(updates, dtype=torch.float64)
    norms: list[float] = _summed(measured, updates).diagonal().sqrt().tolist()
    return torch.tensor(clip_factors(norms, clip_norm_at), dtype=torch.float64)


def _require_enough(rules: MergeRules, found: int) -> None:
    """Raises NotEnoughUpdatesError, with both the strategy and what comes before it in the message."""
    if not rules.before:
        require_updates(rules.strategy, found)
    elif found < rules.min_updates:
        before = ", ".join(str(rule) for rule in rules.before)
        raise NotEnoughUpdatesError(
            f"{found} updates to merge, {rules.strategy} after {before} needs at least {rules.min_updates}; "
            "raise round.min_updates, or change [merge] strategy and before"
        )


def _summed(measured: Measured, updates: int) -> Tensor:
    """Inner products over the whole model, float64 [K, K], tensor by tensor."""
    gram_KK = torch.zeros((updates, updates), dtype=torch.float64)
    for tensor in sorted(measured):
        gram_KK = torch.add(gram_KK, measured[tensor].gram_KK)
    return gram_KK


def _decide(gram_KK: Tensor, clipping_KK: Tensor, weights_K: Tensor, rules: MergeRules) -> Decided:
    mixing_LK, weights_L = clipping_KK, weights_K
    gram_LL = _mixed(gram_KK, clipping_KK)
    for rule in rules.before:
        step_ML, weights_L = rule.mix(gram_LL, weights_L, rules.seed)
        mixing_LK = product(step_ML, mixing_LK)
        gram_LL = _mixed(gram_LL, step_ML)
    require_updates(rules.strategy, len(weights_L))
    if isinstance(rules.strategy, WeighsUpdates):
        weights_L = rules.strategy.weigh(gram_LL, weights_L)
    return Decided(mixing_LK, weights_L)


def _mixed(gram_KK: Tensor, mixing_LK: Tensor) -> Tensor:
    """Inner products of mixtures, float64 [L, L]."""
    return product(product(mixing_LK, gram_KK), mixing_LK.T)
