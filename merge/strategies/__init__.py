"""The rules that turn a round's updates into one change, by the name that ``[merge]`` gives them.

To add one: a file here with a frozen dataclass that has the shape of :class:`Strategy`,
:class:`PreAggregation` or :class:`OuterRule`, the sections in its docstring that
docs/generate_strategies.py reads, and a place in the list below. The laws in
tests/unit/test_merge_strategies.py then hold it to account. Another distribution adds
one through an entry point in the groups ``barnraise.strategies``,
``barnraise.pre_aggregations`` or ``barnraise.outer_rules``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from barnraise.config import OuterConfig, PreAggregationConfig
from barnraise.errors import UnknownStrategyError
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
from merge.strategies.options import Option, option_names
from merge.strategies.outer import OuterNone, OuterRule
from merge.strategies.registry import Shelf
from merge.strategies.regmean import RegMean
from merge.strategies.rule import PreAggregation, Strategy
from merge.strategies.slerp import Slerp
from merge.strategies.task_arithmetic import TaskArithmetic
from merge.strategies.ties import Ties
from merge.strategies.trimmed_mean import TrimmedMean

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

BUILT_IN: tuple[type[Strategy], ...] = (
    Mean,
    Median,
    TrimmedMean,
    GeometricMedian,
    Krum,
    MultiKrum,
    Bulyan,
    CentredClipping,
    TaskArithmetic,
    Ties,
    Dare,
    Della,
    Breadcrumbs,
    Fisher,
    RegMean,
    Slerp,
    MultiSlerp,
    ModelStock,
)
PRE_AGGREGATIONS: tuple[type[PreAggregation], ...] = (NearestNeighbourMixing, Bucketing)
OUTER_RULES: tuple[type[OuterRule], ...] = (OuterNone, OuterNesterov, FedAvgM, FedAdagrad, FedAdam, FedYogi)

_STRATEGIES = Shelf("strategy", "barnraise.strategies", BUILT_IN, ("min_updates", "combine"))
_BEFORE = Shelf("pre-aggregation", "barnraise.pre_aggregations", PRE_AGGREGATIONS, ("needed", "mix"))
_OUTER = Shelf("outer rule", "barnraise.outer_rules", OUTER_RULES, ("slots", "initial", "step"))


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
    if name != OuterNone.name and name in shelf.known:
        raise UnknownStrategyError(f"{name} {hint} = {name!r} and leave {key} at one of {', '.join(_STRATEGIES.known)}")
