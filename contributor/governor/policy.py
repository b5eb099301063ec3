"""What a policy is, and which there are: a visible list of built-in ones, and entry points for others'.

A policy is its settings and one pure function. ``judge`` gets an observation and the state that it returned last
(None at first), and returns a wish with the next state. It reads no clock and no file, draws no random numbers and
keeps nothing to itself, so it can be loaded, unloaded or swapped between any two steps.

    [project.entry-points."barnraise.policies"]
    siesta = "my_package.siesta:Siesta"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Protocol, cast

from barnraise.errors import ConfigValueError
from barnraise.sections import Section, parse_section
from contributor.governor.observation import Observation
from contributor.governor.policies import BUILT_IN
from contributor.governor.wish import Wish

__all__ = ["GROUP", "Policy", "available", "foreign", "make", "summary"]

GROUP = "barnraise.policies"


class Policy(Protocol):
    """A rule of when and how hard to work. An implementation is a frozen Section: its fields are its settings.

    Attributes:
        name: as settings files call it. sensors: names of those that it looks at.
        memory: frozen dataclass of a state that survives a restart; None for a state that need not.
    """

    name: ClassVar[str]
    sensors: ClassVar[tuple[str, ...]]
    memory: ClassVar[type[Any] | None]

    def judge(self, seen: Observation, state: Any) -> tuple[Wish, Any]:
        """What the node should do, given what is seen now and the state after the last look."""


def foreign() -> dict[str, EntryPoint]:
    """Policies of other distributions, by name. A built-in one keeps its name."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}


def available() -> tuple[str, ...]:
    """Every name that a settings file may use."""
    return (*BUILT_IN, *sorted(foreign()))


def summary(name: str) -> str:
    """What a policy does, in a line; where a foreign one comes from."""
    if name in BUILT_IN:
        return (BUILT_IN[name].__doc__ or "").splitlines()[0]
    return f"of {foreign()[name].value}"


def make(name: str, settings: Mapping[str, Any], *, source: str) -> Policy:
    """A policy from its settings; ``source`` is named in errors.

    Raises:
        ConfigUnknownKeyError: a setting that the policy does not have.
        ConfigValueError: no such policy, a setting out of range, or a foreign one that cannot be imported.
    """
    if name in BUILT_IN:
        kind: type[Section] = BUILT_IN[name]
    else:
        kind = _imported(name, source)
    return cast(Policy, parse_section(kind, dict(settings), source=f"{source}: [{name}]"))


def _imported(name: str, source: str) -> type[Section]:
    point = foreign().get(name)
    if point is None:
        raise ConfigValueError(f"{source}: there is no policy {name!r}; there are: {', '.join(available())}")
    try:
        kind = point.load()
    except Exception as error:  # whatever a stranger's module does when it is imported
        raise ConfigValueError(f"{source}: policy {name!r} of {point.value} cannot be imported: {error!r}") from error
    if not (isinstance(kind, type) and issubclass(kind, Section) and callable(getattr(kind, "judge", None))):
        raise ConfigValueError(f"{source}: {point.value} is not a policy: a Section with a method judge was expected")
    return kind
