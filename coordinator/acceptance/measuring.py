"""Measure a model with one test, and name what was measured so that it is measured once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from barnraise.digest import digest_json
from barnraise.errors import AcceptanceError
from barnraise.suite import LookConfig
from coordinator.acceptance.examples import NOTHING, Examples
from coordinator.acceptance.kinds import Measured, make_kind
from coordinator.acceptance.models.subject import Subject

__all__ = ["OF_THE_MOMENT", "Part", "examples_of", "first_examples", "measure", "measurement", "of_model"]


OF_THE_MOMENT = frozenset({"latency"})
"""Kinds whose values say as much of the machine's load as of the model; they are measured anew."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a test or a probe looks at in one go.

    Attributes:
        places: of the examples that are at hand; None: the first ones, as many as it looks at.
    """

    look: LookConfig
    places: tuple[int, ...] | None = None


def examples_of(part: Part, at_hand: Examples) -> Examples:
    """The examples of a part.

    Raises:
        AcceptanceError: there are fewer.
    """
    if part.places is None:
        return first_examples(part.look, at_hand)
    if part.places and max(part.places) >= len(at_hand):
        raise AcceptanceError(
            f"{part.look.name} looks at example {max(part.places) + 1}, there are {len(at_hand)}; enlarge its data "
            "set, or, for a shard, start a new run"
        )
    return at_hand.take(part.places)


def first_examples(look: LookConfig, at_hand: Examples) -> Examples:
    """The examples of a test or a probe that draws none: the first ones.

    Raises:
        AcceptanceError: there are fewer.
    """
    if look.shard is None and look.data is None:
        return NOTHING
    if len(at_hand) < look.examples:
        where = f"data set {look.data}" if look.data is not None else f"shard {look.shard!r}"
        raise AcceptanceError(
            f"{look.name} looks at {look.examples} examples, {where} has {len(at_hand)}; lower its examples, "
            "enlarge the data set, or, for a shard, start a new run"
        )
    return at_hand.take(range(look.examples))


def measurement(model_digest: str, look: LookConfig, examples: Examples) -> str:
    """A name for everything that a measurement depends on: model, kind and its options, examples, code.

    Args:
        examples: those that are looked at.
    """
    digest = digest_json([model_digest, look.measured, make_kind(look).version, examples.digest, len(examples)])
    return f"{of_model(model_digest)}-{digest[3:35]}"


def of_model(model_digest: str) -> str:
    """What the names of all measurements of a model begin with."""
    return model_digest[3:19]


def measure(subject: Subject, look: LookConfig, examples: Examples) -> Measured:
    """What a test or a probe finds of a model.

    Raises:
        AcceptanceError: examples that the kind cannot read, or a value that is not finite.
    """
    found = make_kind(look).measure(subject, examples)
    unscored = int(np.count_nonzero(~np.isfinite(found.values_N)))
    if unscored:
        raise AcceptanceError(f"{look.name}: {unscored} of {len(found.values_N)} values are not finite")
    return found
