"""The rules that turn a round's updates into one change, by the name that ``[merge]`` gives them.

To add one: a file here with a frozen dataclass that has the shape of :class:`Strategy`,
:class:`PreAggregation` or :class:`OuterRule`, the sections in its docstring that
docs/generate_strategies.py reads, and a place in the list below. The laws in
tests/unit/test_merge_strategies.py then hold it to account. Another distribution adds
one through an entry point in the groups ``barnraise.strategies``,
``barnraise.pre_aggregations`` or ``barnraise.outer_rules``; the list names ours in the same way.

A rule's file is imported when the rule is asked for, and with it torch if it needs tensors
to be defined: what only adds models up does without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from barnraise.errors import UnknownStrategyError
from barnraise.merge_config import OuterConfig, PreAggregationConfig
from merge.strategies.options import Option, option_names
from merge.strategies.registry import Shelf
from merge.strategies.rule import PreAggregation, Strategy

if TYPE_CHECKING:
    from merge.strategies.breadcrumbs import Breadcrumbs
    from merge.strategies.bucketing import Bucketing
    from merge.strategies.bulyan import Bulyan
    from merge.strategies.centred_clipping import CentredClipping
    from merge.strategies.dare import Dare
    from merge.strategies.della import Della
    from merge.strategies.fed_adagrad import FedAdagrad
    from merge.strategies.fed_adam import FedAdam
    from merge.strategies.fed_avg_m import FedAvgM
    from merge.strategies.fed_yogi import FedYogi
    from merge.strategies.fisher import Fisher
    from merge.strategies.geometric_median import GeometricMedian
    from merge.strategies.krum import Krum
    from merge.strategies.mean import Mean
    from merge.strategies.median import Median
    from merge.strategies.model_stock import ModelStock
    from merge.strategies.multi_krum import MultiKrum
    from merge.strategies.multi_slerp import MultiSlerp
    from merge.strategies.nesterov import OuterNesterov
    from merge.strategies.nnm import NearestNeighbourMixing
    from merge.strategies.outer import OuterNone, OuterRule
    from merge.strategies.regmean import RegMean
    from merge.strategies.slerp import Slerp
    from merge.strategies.task_arithmetic import TaskArithmetic
    from merge.strategies.ties import Ties
    from merge.strategies.trimmed_mean import TrimmedMean

    BUILT_IN: tuple[type[Strategy], ...]
    PRE_AGGREGATIONS: tuple[type[PreAggregation], ...]
    OUTER_RULES: tuple[type[OuterRule], ...]

__all__ = [
    "BUILT_IN",
    "OUTER_RULES",
    "PRE_AGGREGATIONS",
    "Breadcrumbs",
    "Bucketing",
    "Bulyan",
    "CentredClipping",
    "Dare",
    "Della",
    "FedAdagrad",
    "FedAdam",
    "FedAvgM",
    "FedYogi",
    "Fisher",
    "GeometricMedian",
    "Krum",
    "Mean",
    "Median",
    "ModelStock",
    "MultiKrum",
    "MultiSlerp",
    "NearestNeighbourMixing",
    "OuterNesterov",
    "OuterNone",
    "OuterRule",
    "PreAggregation",
    "RegMean",
    "Slerp",
    "Strategy",
    "TaskArithmetic",
    "Ties",
    "TrimmedMean",
    "make_before",
    "make_outer",
    "make_outer_rule",
    "make_pre_aggregation",
    "make_strategy",
]

_STRATEGY_CLASSES = {
    "mean": "merge.strategies.mean:Mean",
    "median": "merge.strategies.median:Median",
    "trimmed-mean": "merge.strategies.trimmed_mean:TrimmedMean",
    "geometric-median": "merge.strategies.geometric_median:GeometricMedian",
    "krum": "merge.strategies.krum:Krum",
    "multi-krum": "merge.strategies.multi_krum:MultiKrum",
    "bulyan": "merge.strategies.bulyan:Bulyan",
    "centred-clipping": "merge.strategies.centred_clipping:CentredClipping",
    "task-arithmetic": "merge.strategies.task_arithmetic:TaskArithmetic",
    "ties": "merge.strategies.ties:Ties",
    "dare": "merge.strategies.dare:Dare",
    "della": "merge.strategies.della:Della",
    "breadcrumbs": "merge.strategies.breadcrumbs:Breadcrumbs",
    "fisher": "merge.strategies.fisher:Fisher",
    "regmean": "merge.strategies.regmean:RegMean",
    "slerp": "merge.strategies.slerp:Slerp",
    "multi-slerp": "merge.strategies.multi_slerp:MultiSlerp",
    "model-stock": "merge.strategies.model_stock:ModelStock",
}
_PRE_AGGREGATION_CLASSES = {
    "nnm": "merge.strategies.nnm:NearestNeighbourMixing",
    "bucketing": "merge.strategies.bucketing:Bucketing",
}
_OUTER_CLASSES = {
    "none": "merge.strategies.outer:OuterNone",
    "outer-nesterov": "merge.strategies.nesterov:OuterNesterov",
    "fed-avg-m": "merge.strategies.fed_avg_m:FedAvgM",
    "fed-adagrad": "merge.strategies.fed_adagrad:FedAdagrad",
    "fed-adam": "merge.strategies.fed_adam:FedAdam",
    "fed-yogi": "merge.strategies.fed_yogi:FedYogi",
}

_NO_RULE = "none"  # among the outer rules, and no mistake elsewhere

_STRATEGIES: Shelf[Strategy] = Shelf("strategy", "barnraise.strategies", _STRATEGY_CLASSES, ("min_updates", "combine"))
_BEFORE: Shelf[PreAggregation] = Shelf(
    "pre-aggregation", "barnraise.pre_aggregations", _PRE_AGGREGATION_CLASSES, ("needed", "mix")
)
_OUTER: Shelf[OuterRule] = Shelf("outer rule", "barnraise.outer_rules", _OUTER_CLASSES, ("slots", "initial", "step"))


def make_strategy(name: str, options: Mapping[str, Option]) -> Strategy:
    """The strategy called ``name`` with its hyperparameters.

    Raises:
        UnknownStrategyError: no such strategy or hyperparameter, or a value out of range.
    """
    _refuse_elsewhere(name, _OUTER, "works over a strategy: set merge.outer.name", "merge.strategy")
    _refuse_elsewhere(name, _BEFORE, "works before a strategy: put it into merge.before as name", "merge.strategy")
    return _STRATEGIES.make(name, options)


def make_pre_aggregation(name: str, options: Mapping[str, Option]) -> PreAggregation:
    """The pre-aggregation called ``name`` with its hyperparameters.

    Raises:
        UnknownStrategyError: no such pre-aggregation or hyperparameter, or a value out of range.
    """
    return _BEFORE.make(name, options)


def make_before(configs: Sequence[PreAggregationConfig]) -> tuple[PreAggregation, ...]:
    """The pre-aggregations of a run, in their order.

    Raises:
        UnknownStrategyError: as :func:`make_pre_aggregation`.
    """
    return tuple(make_pre_aggregation(config.name, config.options) for config in configs)


def make_outer(config: OuterConfig) -> OuterRule:
    """The outer rule of a run.

    Raises:
        UnknownStrategyError: as :func:`make_outer_rule`.
    """
    has = option_names(_OUTER.find(config.name))
    return _OUTER.make(config.name, {key: value for key, value in config.model_dump().items() if key in has})


def make_outer_rule(name: str, options: Mapping[str, Option]) -> OuterRule:
    """The outer rule called ``name`` with its hyperparameters.

    Raises:
        UnknownStrategyError: no such outer rule or hyperparameter, or a value out of range.
    """
    return _OUTER.make(name, options)


def _refuse_elsewhere(name: str, shelf: Shelf[object], hint: str, key: str) -> None:
    if name != _NO_RULE and name in shelf.built_in:
        raise UnknownStrategyError(
            f"{name} {hint} = {name!r} and leave {key} at one of {', '.join(_STRATEGIES.built_in)}"
        )


def __getattr__(name: str) -> object:
    """The classes, and the tuples of them, imported when somebody asks."""
    shelves = {"BUILT_IN": _STRATEGIES, "PRE_AGGREGATIONS": _BEFORE, "OUTER_RULES": _OUTER}
    if name in shelves:
        return shelves[name].classes
    if name == "OuterRule":
        return import_module("merge.strategies.outer").OuterRule
    for place in (*_STRATEGY_CLASSES.values(), *_PRE_AGGREGATION_CLASSES.values(), *_OUTER_CLASSES.values()):
        module, _, kind = place.partition(":")
        if kind == name:
            return getattr(import_module(module), kind)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
