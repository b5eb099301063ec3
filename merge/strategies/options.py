"""Hyperparameters: values from a configuration become fields of a rule, or are refused with what was expected.

A rule is a frozen dataclass and its fields are its options. A configuration knows numbers,
text and truth values, so ``liars = 2.0`` becomes 2 where a whole number is meant, and 2.5,
text or an infinity is refused. What range a value must lie in is the rule's own business:
its ``__post_init__`` says so through :func:`require`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from barnraise.errors import UnknownStrategyError

__all__ = ["Option", "did_you_mean", "fitted", "option_names", "require"]

Option = float | str
"""What a configuration gives: a number, text, or true or false (a number to Python)."""


def require(rule: object, field: str, holds: bool, expected: str) -> None:
    """Refuse a hyperparameter that is out of range; for ``__post_init__``.

    Args:
        holds: whether the value is in range. A comparison with NaN is false, so NaN is refused.
        expected: the range in words, such as ``a share in (0, 1]``.

    Raises:
        UnknownStrategyError: it does not hold.
    """
    if not holds:
        raise UnknownStrategyError(f"{_name(rule)}: {field} is {getattr(rule, field)!r}, expected {expected}")


def option_names(kind: type) -> list[str]:
    """The fields of a rule's class, in their order."""
    return [field.name for field in dataclasses.fields(kind) if field.init]


def fitted(kind: type, options: Mapping[str, Option]) -> dict[str, Any]:
    """The options as values of the fields' types.

    Args:
        kind: class of a rule.

    Raises:
        UnknownStrategyError: there is no such field, or the value is of another type.
    """
    names = option_names(kind)
    for option in options:
        if option not in names:
            there_are = f"there are {', '.join(names)}" if names else "it has none"
            raise UnknownStrategyError(
                f"{_name(kind)} has no option {option[:48]!r}; {did_you_mean(option, names)}{there_are}"
            )
    hints = typing.get_type_hints(kind)
    return {option: _fitted(f"{_name(kind)}: {option}", value, hints[option]) for option, value in options.items()}


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """``did you mean 'ties'? `` with the nearest name, or nothing if none is near."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _fitted(where: str, value: object, wanted: Any) -> object:
    """One value as the type that a field has; types that no configuration can give pass as they are."""
    choices = _choices(wanted)
    if choices is not None or wanted is str:
        if not isinstance(value, str) or (choices is not None and value not in choices):
            expected = " or ".join(repr(choice) for choice in choices) if choices else "text"
            raise _misfit(where, value, expected)
        return value
    if wanted not in (float, int, bool):
        return value
    if isinstance(value, str) or not isinstance(value, int | float):
        raise _misfit(where, value, "true or false" if wanted is bool else "a number")
    if wanted is bool:
        if value not in (0, 1):
            raise _misfit(where, value, "true or false")
        return bool(value)
    if isinstance(value, bool) or not math.isfinite(value):
        raise _misfit(where, value, "a finite number")
    if wanted is int and value != int(value):
        raise _misfit(where, value, "a whole number")
    return int(value) if wanted is int else float(value)


def _choices(wanted: Any) -> tuple[str, ...] | None:
    return typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else None


def _misfit(where: str, value: object, expected: str) -> UnknownStrategyError:
    shown = repr(value) if len(repr(value)) <= 48 else f"{repr(value)[:45]}..."
    return UnknownStrategyError(f"{where} is {shown}, expected {expected}")


def _name(rule: object) -> str:
    return str(getattr(rule, "name", rule))
