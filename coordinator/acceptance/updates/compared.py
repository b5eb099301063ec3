"""What the check of an update keeps of single examples, so that its round can compare its updates.

All updates of a round are looked at with the same hidden and the same public examples
(hidden/checks.py). Whether one of them is tuned to the public ones is decided when the round is
merged, from what every example's loss was without and with it. These numbers are in the ledger
and go out to nobody; ``COMPARED_MOST`` of a set at most are kept, as whole hundred-thousandths of a bit.

N  examples of a set
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.acceptance.hidden.checks import COMPARED_MOST
from coordinator.acceptance.updates.contribution import PairedLosses

__all__ = ["Compared"]
_PER_BIT = 100_000


@dataclass(frozen=True)
class Compared:
    """One update on the examples that all updates of its round are looked at with.

    Attributes:
        drawn: digest of which examples these are; only updates with the same can be compared.
        hidden, public: losses on examples of the same domains, as many of each. unit: of the losses.
    """

    drawn: str
    hidden: PairedLosses
    public: PairedLosses
    unit: str = "bits/byte"

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return {"drawn": self.drawn, "unit": self.unit, "hidden": _kept(self.hidden), "public": _kept(self.public)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Compared:
        """What :meth:`as_json` gave."""
        return cls(value["drawn"], _losses(value["hidden"]), _losses(value["public"]), value["unit"])


def _kept(losses: PairedLosses) -> list[list[int]]:
    both = (losses.base_N, losses.alone_N)
    return [np.rint(one_N[:COMPARED_MOST] * _PER_BIT).astype(np.int64).tolist() for one_N in both]


def _losses(value: list[list[int]]) -> PairedLosses:
    base_N, alone_N = (np.array(one, dtype=np.float64) / _PER_BIT for one in value)
    return PairedLosses(base_N, alone_N)
