"""What an acceptance test can ask, by the name that a suite gives it.

    loss, accuracy, calibration, robustness    windows of text, or lines with a text
    multiple-choice, exact-match, canary       lines of a data set
    attached                                   either of these, and an attached fine-tune
    latency, size, signature                   nothing but the model
    lm-eval, python                            lines of a data set, or examples of their own

To add one: a file here with a frozen dataclass that has the shape of :class:`Kind`, its place in
the table below, and its name in ``KindName`` (barnraise/suite.py). A kind's file is imported when
a test of that kind is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from barnraise.errors import AcceptanceError, UnknownStrategyError
from barnraise.suite import LookConfig
from coordinator.acceptance.kinds.rule import Budget, Failure, Found, Kind, Measured, Takes
from merge.strategies.options import fitted, option_names
from merge.strategies.registry import Shelf

__all__ = ["KINDS", "Budget", "Failure", "Found", "Kind", "Measured", "make_kind"]

KINDS = {
    "loss": "coordinator.acceptance.kinds.loss:Loss",
    "accuracy": "coordinator.acceptance.kinds.accuracy:Accuracy",
    "multiple-choice": "coordinator.acceptance.kinds.multiple_choice:MultipleChoice",
    "exact-match": "coordinator.acceptance.kinds.exact_match:ExactMatch",
    "calibration": "coordinator.acceptance.kinds.calibration:Calibration",
    "canary": "coordinator.acceptance.kinds.canary:Canary",
    "robustness": "coordinator.acceptance.kinds.robustness:Robustness",
    "latency": "coordinator.acceptance.kinds.latency:Latency",
    "size": "coordinator.acceptance.kinds.size:Size",
    "signature": "coordinator.acceptance.kinds.signature:SignatureKept",
    "attached": "coordinator.acceptance.kinds.attached:Attached",
    "lm-eval": "coordinator.acceptance.kinds.lm_eval:LmEval",
    "python": "coordinator.acceptance.kinds.python:PythonTest",
}
_READS: dict[Takes, tuple[tuple[str, ...], str]] = {
    "windows": (("windows",), "a shard"),
    "rows": (("rows",), "a data set"),
    "either": (("windows", "rows"), "a shard or a data set"),
    "nothing": (("nothing",), "neither a shard nor a data set"),
    "rows or nothing": (("rows", "nothing"), "a data set, or examples of its own"),
}
_SHELF: Shelf[Kind] = Shelf("kind of test", "barnraise.kinds", KINDS, ("takes", "version", "metric", "measure"))


def make_kind(look: LookConfig) -> Kind:
    """The kind of a test or a probe, with its options.

    Raises:
        AcceptanceError: an option that it does not have, a value out of range, or examples that it cannot read.
    """
    try:
        found = _SHELF.find(look.kind)
        kind = cast(Callable[..., Kind], found)(**_options(found, look))
    except UnknownStrategyError as error:
        raise AcceptanceError(f"test {look.name}: {error}") from error
    if look.direction is not None and not kind.metric.fits(look.direction):
        raise AcceptanceError(
            f"test {look.name}: direction is {look.direction!r}, but of {kind.metric.unit} "
            f"{'higher' if kind.metric.higher_is_better else 'lower'} is better"
        )
    given: Takes = "windows" if look.shard is not None else "rows" if look.data is not None else "nothing"
    reads, in_words = _READS[kind.takes]
    if given not in reads:
        raise AcceptanceError(
            f"test {look.name}: kind {look.kind} reads {in_words}, the suite gives it {_READS[given][1]}"
        )
    return kind


def _options(kind: type[Kind], look: LookConfig) -> dict[str, Any]:
    """Values for a kind's fields: its options, and what else of the test a kind can ask for by a field's name."""
    names = option_names(kind)
    asked = {"direction": look.direction or "", "examples": look.examples}
    options = {name: value for name, value in look.options.items() if name in names or "passed_on" not in names}
    for reserved in {*asked, "passed_on"} & look.options.keys() & set(names):
        raise UnknownStrategyError(f"{look.kind}: {reserved} is no option; it is a key of the test itself")
    values = fitted(kind, options)
    values |= {name: value for name, value in asked.items() if name in names}
    if "passed_on" in names:
        values["passed_on"] = {name: value for name, value in look.options.items() if name not in names}
    return values
