"""A test of a maintainer's own: a function that an installed distribution offers, by name.

A suite may come from a stranger, so it names no module and no file: only what a distribution
that is installed here offers in the group ``barnraise.acceptance`` can be called. In that
distribution's own pyproject.toml:

    [project.entry-points."barnraise.acceptance"]
    rhymes = "my_tests.rhymes:score"

The function is called as ``score(subject, rows, **options)``: the model as :class:`Subject`, the
lines of the test's data set (none without one), and all options but ``entry`` and ``unit``. It
returns one number an example. What it raises stops the test, and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import Option, did_you_mean, require

__all__ = ["GROUP", "PythonTest"]

GROUP = "barnraise.acceptance"


@dataclass(frozen=True, slots=True)
class PythonTest:
    """What the function says of each example. What a line must have is its own business.

    Attributes:
        entry: name of the entry point. unit: of its numbers, for reports.
        direction: whether ``lower`` or ``higher`` is better; the test's.
        passed_on: all other options.
    """

    name: ClassVar[str] = "python"
    takes: ClassVar[Takes] = "rows or nothing"
    entry: str = ""
    unit: str = "points"
    direction: Literal["lower", "higher", ""] = ""
    passed_on: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self, "entry", self.entry != "", f"the name of an entry point in the group {GROUP}")
        require(self, "direction", self.direction != "", "'lower' or 'higher': give the test a direction")

    @property
    def metric(self) -> Metric:
        return Metric(self.unit, higher_is_better=self.direction == "higher")

    @property
    def version(self) -> str:
        """With that of the distribution: a newer one may measure otherwise."""
        offer = _offer(self.entry)
        return f"1 {offer.value} {offer.dist.name} {offer.dist.version}" if offer.dist else f"1 {offer.value}"

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        offer = _offer(self.entry)
        try:
            function: Callable[..., Sequence[float]] = offer.load()
            found = function(subject, examples.rows, **self.passed_on)
        except Exception as error:  # foreign code may raise anything; it is told as it is
            raise AcceptanceError(
                f"the test {self.entry} ({offer.value}) raised {type(error).__name__}: {error}; ask its author"
            ) from error
        return Measured(_numbers(found, len(examples), f"the test {self.entry} ({offer.value})"))


def _offer(entry: str) -> EntryPoint:
    """The entry point of that name.

    Raises:
        AcceptanceError: none of that name is installed, or two are.
    """
    offers = entry_points(group=GROUP)
    found = {(offer.value, offer.dist.name if offer.dist else ""): offer for offer in offers if offer.name == entry}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        origins = " and ".join(sorted(f"{origin or 'an unknown distribution'}" for _, origin in found))
        raise AcceptanceError(f"{origins} both offer the test {entry!r}; uninstall all but one of them")
    known = sorted({offer.name for offer in offers})
    raise AcceptanceError(
        f"no installed distribution offers a test {entry[:48]!r} in the group {GROUP}; "
        f"{did_you_mean(entry, known)}there are {', '.join(known) or 'none'}. Install the one that does"
    )


def _numbers(found: Any, count: int, who: str) -> NDArray[np.float64]:
    """What a foreign function returned, as float64 [N].

    Args:
        count: of examples; 0: it has its own.

    Raises:
        AcceptanceError: these are no numbers, not finite, or not one an example.
    """
    try:
        values_N = np.array([float(value) for value in found if not isinstance(value, str | bytes)], dtype=np.float64)
        length = len(found)
    except (TypeError, ValueError, OverflowError) as error:
        raise AcceptanceError(f"{who} returned {type(found).__name__} that holds no numbers: {error}") from error
    if len(values_N) != length or length == 0 or (count and length != count):
        raise AcceptanceError(
            f"{who} returned {length} values, {len(values_N)} of them numbers; expected {count or 'one or more'}, "
            "one for each example"
        )
    unscored = int(np.count_nonzero(~np.isfinite(values_N)))
    if unscored:
        raise AcceptanceError(f"{who} returned {unscored} values of {length} that are not finite")
    return values_N
