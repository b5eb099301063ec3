"""Try a run's way of merging on a handful of numbers, before anybody trains for it.

A strategy that does not exist, wants more updates than a round is content with, or needs what
no round can give it would otherwise fail after hours of training. So a round of tiny made-up
updates is merged as a real one would be: what fails here would fail there.

K  updates in the round
P  elements of a made-up update
"""

from __future__ import annotations

import torch

from barnraise.config import RunConfig
from barnraise.errors import ConfigValueError, MergeError, NotEnoughUpdatesError
from barnraise.merge_config import MergeConfig
from barnraise.suite import LookConfig
from barnraise.updates import Piece, asked_carrier
from coordinator.acceptance.batches import require_enough
from coordinator.acceptance.kinds import Kind, make_kind
from coordinator.acceptance.kinds.loss import Loss
from coordinator.conductor.merging import by_magnitude, merge_rules
from merge.architectures import Answering, architecture_of, module_space
from merge.measure import measure_pieces
from merge.plan import MergeRules, plan_merge
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies import make_outer
from merge.strategies.rule import MergesMatrices, UsesFisher

__all__ = ["can_merge", "require_mergeable", "require_testable"]

OF_TEXT = frozenset({"attached", "canary", "exact-match", "latency", "lm-eval", "multiple-choice", "robustness"})
ELEMENTS = 64
PIECES = (Piece(0, 0, ELEMENTS // 2, 0), Piece(1, ELEMENTS // 2, ELEMENTS, ELEMENTS // 2))


def require_mergeable(config: RunConfig) -> None:
    """Refuse a configuration whose rounds could not be merged.

    Raises:
        UnknownStrategyError: a strategy, pre-aggregation, outer rule or option that does not exist or is out of range.
        ConfigValueError: anything else, with the key to change.
    """
    if config.update.mask is None:
        asked_carrier(module_space(config.model), config.update, turn=0)
    rules = merge_rules(config.merge)
    outer = make_outer(config.merge.outer)
    _require_inputs(config, rules)
    _require_enough(config, rules)
    for updates in sorted({config.round.min_updates, config.round.target_updates}):
        try:
            merged_P = _merge(rules, updates)
        except MergeError as error:
            raise ConfigValueError(f"a round of {updates} updates could not be merged: {error}") from error
        outer.step(merged_P, outer.initial(ELEMENTS))


def require_testable(config: RunConfig) -> None:
    """Refuse a configuration with a test or a probe that could never run.

    Raises:
        AcceptanceError: an option of a kind that does not exist or is out of range, or examples that it cannot read.
        ConfigValueError: more cores than the conductor may use.
    """
    require_enough(config.acceptance)
    for what, look in config.looks:
        _require_fits(config, what, look, make_kind(look))
        if look.cpus > config.conductor.workers:
            raise ConfigValueError(
                f"{what} {look.name} needs {look.cpus:g} cores, and conductor.workers is {config.conductor.workers}; "
                "change one of the two"
            )


def _require_fits(config: RunConfig, what: str, look: LookConfig, kind: Kind) -> None:
    """A test of text needs a model of text, and one of answers a model that answers."""
    model = config.model
    answers = isinstance(architecture_of(model), Answering)
    if answers and look.kind in OF_TEXT:
        raise ConfigValueError(
            f"{what} {look.name} asks for {look.kind}, which is about text, and {model.architecture} answers examples; "
            "ask for loss, accuracy, calibration, size, signature or python"
        )
    if isinstance(kind, Loss) and answers != (kind.per == "answer"):
        wanted = '"answer"' if answers else '"byte" or "token"'
        raise ConfigValueError(
            f"{what} {look.name} asks for a loss per {kind.per}, of {model.architecture} it is per {wanted}; "
            f"set options = {{ per = {wanted.split(' ')[0]} }}"
        )


def can_merge(config: MergeConfig, updates: int) -> bool:
    """Whether a round of so many updates can be merged."""
    try:
        _merge(merge_rules(config), updates)
    except MergeError:
        return False
    return True


def _require_inputs(config: RunConfig, rules: MergeRules) -> None:
    """What a strategy needs beside changes must come with the updates."""
    name = config.merge.strategy
    if isinstance(rules.strategy, MergesMatrices):
        raise ConfigValueError(
            f"merge.strategy {name} needs the Gram matrices of inputs, which no update brings; it merges models "
            f"that are at hand: barnraise merge --strategy {name}. Choose another strategy for this run"
        )
    if isinstance(rules.strategy, UsesFisher):
        if not config.update.fisher:
            raise ConfigValueError(
                f"merge.strategy {name} needs a Fisher with every update; set update.fisher = true, or choose "
                "another strategy"
            )
        if rules.before:
            raise ConfigValueError(
                f"merge.strategy {name} takes updates as they came, for a Fisher belongs to one of them; remove "
                "merge.before"
            )
    elif config.update.fisher:
        raise ConfigValueError(
            f"update.fisher asks for a Fisher with every update, and merge.strategy {name} does not use it; remove "
            "update.fisher"
        )


def _require_enough(config: RunConfig, rules: MergeRules) -> None:
    needed = rules.min_updates
    if config.round.min_updates < needed:
        before = f" after {', '.join(rule.name for rule in rules.before)}" if rules.before else ""
        raise ConfigValueError(
            f"merge.strategy {config.merge.strategy}{before} needs at least {needed} updates, and round.min_updates is "
            f"{config.round.min_updates}; raise it to {needed}, or change [merge]"
        )


def _merge(rules: MergeRules, updates: int) -> torch.Tensor:
    """Merge made-up updates, float32 [P].

    Raises:
        MergeError: it cannot be done.
    """
    if updates < rules.min_updates:
        raise NotEnoughUpdatesError(f"{updates} updates to merge, {rules.min_updates} needed")
    draws = torch.Generator().manual_seed(0)
    rows = list(torch.randn(updates, ELEMENTS, generator=draws))
    measured = measure_pieces(rows, PIECES, magnitudes=by_magnitude(rules))
    plan = plan_merge(measured, [1.0] * updates, rules)
    magnitudes = {tensor: found.magnitudes for tensor, found in measured.items()} if by_magnitude(rules) else None
    fishers = [torch.ones(ELEMENTS)] * updates if isinstance(rules.strategy, UsesFisher) else None
    return combine_segment(SegmentUpdates(rows, PIECES, magnitudes, fishers), plan, rules)
