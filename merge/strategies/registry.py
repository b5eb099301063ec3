"""Rules by name: those that are built in, and those that other distributions bring along.

Both are named by where their class is, as entry points are, and imported when they are asked
for. A distribution offers a rule as an entry point, whose name is the rule's name, in the group
of its kind. It is looked for only when no built-in rule has that name, so nothing foreign is
imported by accident; a built-in name cannot be taken over, and an attempt warns. What is
found is checked for the shape of its kind before it is used.
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from barnraise.errors import UnknownStrategyError
from merge.strategies.options import Option, did_you_mean, fitted

__all__ = ["Shelf"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Shelf(Generic[T_co]):
    """Where the rules of one kind stand.

    Attributes:
        kind: what they are called in messages.
        group: of entry points.
        built_in: where their classes are, ``module:Class`` by name.
        members: attributes and methods that a class of this kind has.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]
    members: tuple[str, ...]

    @property
    def classes(self) -> tuple[type[T_co], ...]:
        """All that are built in, imported."""
        return tuple(map(self._own, self.built_in))

    def make(self, name: str, options: Mapping[str, Option]) -> T_co:
        """The rule called ``name`` with its hyperparameters.

        Raises:
            UnknownStrategyError: no such rule or hyperparameter, a value out of range, or an entry point that
                cannot be used.
        """
        found = self.find(name)
        return cast(Callable[..., T_co], found)(**fitted(found, options))

    def find(self, name: str) -> type[T_co]:
        """The class of the rule called ``name``.

        Raises:
            UnknownStrategyError: there is none, or the entry point cannot be used.
        """
        offered = _offered(self.group, tuple(sys.path))
        if name in self.built_in:
            if name in offered:
                warnings.warn(
                    f"{_origin(offered[name][0])} offers the {self.kind} {name!r}, which is built in: the built-in "
                    "one is used. Ask its author for another name.",
                    stacklevel=3,
                )
            return self._own(name)
        if name in offered:
            return self._loaded(name, offered[name])
        there_are = [*self.built_in, *sorted(offered)]
        raise UnknownStrategyError(
            f"no {self.kind} {name[:48]!r}; {did_you_mean(name, there_are)}there are {', '.join(there_are)}"
        )

    def _own(self, name: str) -> type[T_co]:
        return cast(type[T_co], EntryPoint(name, self.built_in[name], self.group).load())

    def _loaded(self, name: str, offers: tuple[EntryPoint, ...]) -> type[T_co]:
        origins = [_origin(offer) for offer in offers]
        if len(offers) > 1:
            raise UnknownStrategyError(
                f"{' and '.join(origins)} both offer the {self.kind} {name!r}; uninstall all but one of them"
            )
        try:
            found = offers[0].load()
        except (ImportError, AttributeError) as error:
            raise UnknownStrategyError(
                f"{origins[0]} offers the {self.kind} {name!r} as {offers[0].value}, which cannot be imported: "
                f"{error}. Install it again, or ask its author."
            ) from error
        lacking = _lacking(found, name, self.members)
        if lacking:
            raise UnknownStrategyError(
                f"{origins[0]} offers the {self.kind} {name!r} as {offers[0].value}, which lacks "
                f"{', '.join(lacking)}; expected the shape that merge/strategies/rule.py describes"
            )
        return cast(type[T_co], found)


def _lacking(found: object, name: str, members: tuple[str, ...]) -> list[str]:
    """What a foreign object lacks to be a rule of its kind."""
    if not isinstance(found, type) or not dataclasses.is_dataclass(found):
        return ["being a dataclass"]
    lacking = [] if _name_of(found) == name else [f"name = {name!r}"]
    return lacking + [member for member in members if not hasattr(found, member)]


def _name_of(rule: type) -> str:
    return str(getattr(rule, "name", ""))


def _origin(offer: EntryPoint) -> str:
    return f"distribution {offer.dist.name if offer.dist else '(unknown)'}"


@lru_cache(maxsize=16)
def _offered(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name; looked for once for every search path, reading names only."""
    offered: dict[str, tuple[EntryPoint, ...]] = {}
    for offer in sorted(entry_points(group=group), key=lambda one: (one.name, _origin(one), one.value)):
        earlier = offered.get(offer.name, ())
        if offer.value not in [one.value for one in earlier]:
            offered[offer.name] = (*earlier, offer)
    return offered
