"""The rules that turn a round's updates into one change, by the name that ``[merge]`` gives them.

To add one: a file here with a frozen dataclass that has the shape of :class:`Strategy`, a
``Source:`` in its docstring, and a place in ``BUILT_IN``. The laws in
tests/unit/test_merge_strategies.py then hold it to account.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping

from barnraise.config import OuterConfig
from barnraise.errors import UnknownStrategyError
from merge.strategies.mean import Mean
from merge.strategies.outer import OuterNesterov, OuterNone, OuterRule
from merge.strategies.rule import Strategy
from merge.strategies.trimmed_mean import TrimmedMean

__all__ = [
    "BUILT_IN",
    "Mean",
    "OuterNesterov",
    "OuterNone",
    "OuterRule",
    "Strategy",
    "TrimmedMean",
    "make_outer",
    "make_strategy",
]

BUILT_IN: tuple[type[Mean] | type[TrimmedMean], ...] = (Mean, TrimmedMean)


def make_strategy(name: str, options: Mapping[str, float]) -> Strategy:
    """The strategy called ``name`` with its hyperparameters.

    Raises:
        UnknownStrategyError: no such strategy or hyperparameter, or a value out of range.
    """
    known = {strategy.name: strategy for strategy in BUILT_IN}
    if name == OuterNesterov.name:
        raise UnknownStrategyError(
            f"{name} works over a strategy: set merge.outer.name = {name!r} and leave merge.strategy at one of "
            f"{', '.join(known)}"
        )
    if name not in known:
        raise UnknownStrategyError(f"no strategy {name[:48]!r}; {_hint(name, known)}there are {', '.join(known)}")
    fields = [field.name for field in dataclasses.fields(known[name])]
    for option in options:
        if option not in fields:
            there_are = f"there are {', '.join(fields)}" if fields else "it has none"
            raise UnknownStrategyError(
                f"strategy {name} has no option {option[:48]!r}; {_hint(option, fields)}{there_are}"
            )
    return known[name](**options)


def make_outer(config: OuterConfig) -> OuterRule:
    """The outer rule of a run."""
    if config.name == OuterNone.name:
        return OuterNone()
    return OuterNesterov(learning_rate=config.learning_rate, momentum=config.momentum)


def _hint(wrong: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""
