"""From a recipe to what is done to every tensor.

The first override that names a tensor decides about it; what no override names is merged as
the recipe says. Tensors that are treated alike form one merge: a strategy that compares whole
models compares these tensors of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from barnraise.checkpoints.recipe import BASE, Override, Recipe
from barnraise.errors import ConfigValueError, NotEnoughUpdatesError, UsageError
from merge.offline.job import Treatment
from merge.rules import MergeRules
from merge.strategies import make_strategy
from merge.strategies.rule import MergesMatrices, PrunesUpdates, Strategy, UsesFisher, WeighsUpdates

__all__ = ["choose", "needs_fisher", "needs_grams"]

NEEDS_A_BASE = ("task-arithmetic", "model-stock")
"""Beside all that prune: what they do makes sense of changes only."""


def choose(recipe: Recipe, names: Sequence[str]) -> tuple[tuple[Treatment, ...], dict[str, int]]:
    """Every treatment that occurs, and which one each tensor gets.

    Args:
        names: of all tensors.

    Raises:
        UnknownStrategyError: a strategy or option that is not there, or out of range.
        NotEnoughUpdatesError: too few models for a strategy.
        UsageError: a strategy that needs a base, without one.
        ConfigValueError: weights that sum to nothing, or an override that names no tensor.
    """
    treatments = [_treatment(recipe, None), *(_treatment(recipe, override) for override in recipe.override)]
    which: dict[str, int] = {}
    for name in names:
        override = recipe.override_for(name)
        which[name] = 0 if override is None else 1 + recipe.override.index(override)
    for override in recipe.override:
        for pattern in override.tensors:
            if not any(fnmatchcase(name, pattern) for name in names):
                near = difflib.get_close_matches(pattern, names, n=1)
                example = near[0] if near else names[0]
                raise ConfigValueError(f"an override names {pattern!a}, which no tensor matches; there is {example!a}")
    return tuple(treatments), which


def needs_fisher(treatments: Sequence[Treatment]) -> bool:
    return any(isinstance(one.rules.strategy, UsesFisher) for one in treatments if one.take is None)


def needs_grams(treatments: Sequence[Treatment]) -> bool:
    return any(isinstance(one.rules.strategy, MergesMatrices) for one in treatments if one.take is None)


def _treatment(recipe: Recipe, override: Override | None) -> Treatment:
    strategy = make_strategy(*_strategy(recipe, override))
    weights = tuple((override.weights if override else {}).get(m.name, m.weight) for m in recipe.models)
    rules = MergeRules(strategy, seed=recipe.seed)
    if override is not None and override.take is not None:
        names = [model.name for model in recipe.models]
        return Treatment(rules, weights, -1 if override.take == BASE else names.index(override.take))
    if recipe.base is None and _needs_a_base(strategy):
        raise UsageError(
            f"{strategy.name} merges changes against a base, and there is none; name it first and leave out --no-base"
        )
    if not any(weights):
        raise ConfigValueError(
            f"the weights of {', '.join(m.name for m in recipe.models)} are all 0; expected one above"
        )
    _require_fitting(rules, weights)
    return Treatment(rules, weights)


def _strategy(recipe: Recipe, override: Override | None) -> tuple[str, Mapping[str, float | str]]:
    if override is None:
        return recipe.strategy, recipe.options
    if override.strategy is not None and override.strategy != recipe.strategy:
        return override.strategy, override.options
    return recipe.strategy, {**recipe.options, **override.options}


def _needs_a_base(strategy: Strategy) -> bool:
    return isinstance(strategy, PrunesUpdates) or strategy.name in NEEDS_A_BASE


def _require_fitting(rules: MergeRules, weights: Sequence[float]) -> None:
    """Raise the strategy's error now if it cannot merge this many models; reading them takes a while."""
    if len(weights) < rules.min_updates:
        raise NotEnoughUpdatesError(
            f"{len(weights)} models to merge, {rules.strategy} needs at least {rules.min_updates}"
        )
    if isinstance(rules.strategy, WeighsUpdates):  # asked about models that have nothing in common
        import torch

        weights_K = torch.tensor(weights, dtype=torch.float64)
        rules.strategy.weigh(torch.eye(len(weights), dtype=torch.float64), weights_K)
