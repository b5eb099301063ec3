"""What an acceptance test can ask, by the name that a suite gives it.

    loss, accuracy, calibration, robustness    windows of text, or lines with a text
    multiple-choice, exact-match, canary       lines of a data set
    latency, size, signature                   nothing but the model
    lm-eval, python                            examples of their own

To add one: a file here with a frozen dataclass that has the shape of :class:`Kind`, its place in
the table below, and its name in ``KindName`` (barnraise/suite.py). A kind's file is imported when
a test of that kind is made.
"""

from __future__ import annotations

from barnraise.errors import AcceptanceError, UnknownStrategyError
from barnraise.suite import LookConfig
from coordinator.acceptance.kinds.rule import Kind, Measured
from merge.strategies.registry import Shelf

__all__ = ["KINDS", "Kind", "Measured", "make_kind"]

KINDS = {
    "loss": "coordinator.acceptance.kinds.loss:Loss",
    "accuracy": "coordinator.acceptance.kinds.accuracy:Accuracy",
}
_SHELF: Shelf[Kind] = Shelf("kind of test", "barnraise.kinds", KINDS, ("takes", "version", "metric", "measure"))


def make_kind(look: LookConfig) -> Kind:
    """The kind of a test or a probe, with its options.

    Raises:
        AcceptanceError: an option that it does not have, a value out of range, or examples that it cannot read.
    """
    try:
        kind = _SHELF.make(look.kind, look.options)
    except UnknownStrategyError as error:
        raise AcceptanceError(f"test {look.name}: {error}") from error
    if look.direction is not None and not kind.metric.fits(look.direction):
        raise AcceptanceError(
            f"test {look.name}: direction is {look.direction!r}, but of {kind.metric.unit} "
            f"{'higher' if kind.metric.higher_is_better else 'lower'} is better"
        )
    given = "windows" if look.shard is not None else "rows" if look.data is not None else "nothing"
    if kind.takes not in (given, "either") or (kind.takes == "either" and given == "nothing"):
        wanted = {"windows": "a shard", "rows": "a data set", "nothing": "neither"}
        raise AcceptanceError(
            f"test {look.name}: kind {look.kind} reads {wanted.get(kind.takes, 'a shard or a data set')}, "
            f"the suite gives it {wanted[given]}"
        )
    return kind
