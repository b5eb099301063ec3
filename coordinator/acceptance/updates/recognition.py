"""What a recogniser says of one update: a label, the reason in numbers, and the numbers themselves.

    free_riders.py   does it do anything?
    copies.py        is it somebody else's, or an old release's?
    tuned.py         does it help the public examples more than those like them?

A label is a suspicion with its evidence. It moves a contributor's standing (probation.py) and
shows on its page; it takes nothing out of a merge by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Label", "Recognised", "gravest"]

Label = Literal["honest", "unclear", "free-rider", "tuned", "copy"]

_GRAVITY: tuple[Label, ...] = ("honest", "unclear", "free-rider", "tuned", "copy")


@dataclass(frozen=True, slots=True)
class Recognised:
    """One recogniser's word on one update.

    Attributes:
        label: ``honest`` is nothing found; ``unclear`` is that the numbers could not have shown it.
        evidence: JSON values.
    """

    label: Label
    reason: str
    evidence: dict[str, Any]

    @property
    def flagged(self) -> bool:
        return self.label not in ("honest", "unclear")


def gravest(found: Iterable[Recognised]) -> Recognised:
    """Of what all recognisers say of one update, what counts; the first of equals."""
    return max(found, key=lambda one: _GRAVITY.index(one.label))
