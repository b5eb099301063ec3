"""How much of a chosen epsilon is spent, in one file of the node's folder, and the refusal to go past it.

    choice ``8,1e-5,100``: epsilon 8 at delta 1e-5, for about 100 units

The noise is made for so many units when the first one begins, and the account goes on until the epsilon is spent,
whatever leases ask for: other batches, other shards, more or fewer steps. A unit is charged *before* it begins, whole
and durably, so a crash can only waste some of the budget; the same lease is not charged twice. That one and the same
example may be in every unit is what the account assumes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from barnraise.digest import canonical_json
from barnraise.errors import BudgetSpentError, MessageError, UsageError, VerificationError
from barnraise.message import Count, Message, Number
from barnraise.releases.durable import replace_file
from contributor.privacy.accountant import Spent, epsilon_of, noise_for

__all__ = ["Budget", "Choice", "Steps", "load_budget", "save_budget"]

DELTA = 1e-5
UNITS = 100
CLIP = 1.0
EPSILON_MAX = 1000.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What the owner wants: at most ``epsilon`` at ``delta``, to last for about ``units``."""

    epsilon: float
    delta: float = DELTA
    units: int = UNITS

    @classmethod
    def parse(cls, text: str) -> Choice:
        """From ``EPSILON[,DELTA[,UNITS]]``.

        Raises:
            UsageError: not that, or out of range.
        """
        parts = text.split(",")
        try:
            epsilon = float(parts[0])
            delta = float(parts[1]) if len(parts) > 1 else DELTA
            units = int(parts[2]) if len(parts) > 2 else UNITS
        except ValueError:
            epsilon, delta, units = 0.0, 0.0, 0
        if len(parts) > 3 or not (0 < epsilon <= EPSILON_MAX and 0 < delta < 0.1 and units >= 1):
            raise UsageError(
                f"--private {text} was given, EPSILON[,DELTA[,UNITS]] was expected, such as 8 or 8,1e-5,100: epsilon "
                f"above 0 and at most {EPSILON_MAX:g}, delta above 0 and below 0.1, a whole number of units"
            )
        return cls(epsilon, delta, units)


class Steps(Message):
    """Steps that were alike, as :class:`contributor.privacy.accountant.Spent` has them."""

    kind: ClassVar[str] = "private-steps"
    rate: Annotated[float, Field(gt=0, le=1)]
    noise: Annotated[float, Field(gt=0)]
    steps: Count

    @property
    def spent(self) -> Spent:
        return Spent(self.rate, self.noise, self.steps)


class Budget(Message):
    """What was chosen and what is spent.

    Attributes:
        noise: of every step of a unit that begins now; 0 until the first one did.
        lease: that was charged last.
    """

    kind: ClassVar[str] = "node-privacy"
    epsilon: Number
    delta: Number
    units: Count
    noise: Number = 0.0
    spent: tuple[Steps, ...] = ()
    lease: str = ""

    @classmethod
    def begin(cls, choice: Choice) -> Budget:
        return cls(epsilon=choice.epsilon, delta=choice.delta, units=choice.units)

    def chosen_anew(self, choice: Choice) -> Budget:
        """With another choice of the owner's. What is spent stays spent; the noise is found again."""
        if (self.epsilon, self.delta, self.units) == (choice.epsilon, choice.delta, choice.units):
            return self
        changed = {"epsilon": choice.epsilon, "delta": choice.delta, "units": choice.units, "noise": 0.0}
        return self.model_copy(update=changed)

    def epsilon_spent(self) -> float:
        return epsilon_of((steps.spent for steps in self.spent), self.delta)

    def charged(self, lease_id: str, examples: int, batch: int, steps: int) -> Budget:
        """With a unit paid for that begins now: ``steps`` of ``batch`` expected from ``examples``.

        Raises:
            BudgetSpentError: that would go past the epsilon, or the delta is too large for so few examples.
        """
        if lease_id == self.lease:
            return self
        if self.delta * examples > 1:
            raise BudgetSpentError(
                f"a delta of {self.delta:g} for a shard of {examples:,} examples would allow to publish one of them; "
                f"nothing was trained. Choose one below {1 / examples:.1e}, such as --private {self.epsilon:g},"
                f"{0.1 / examples:.0e}"
            )
        rate, noise = min(1.0, batch / examples), self.noise
        if noise == 0.0:
            noise = self._noise_for(rate, steps)
        paid = (*self.spent, Steps(rate=rate, noise=noise, steps=steps))
        after = self.model_copy(update={"noise": noise, "spent": _joined(paid), "lease": lease_id})
        if noise == 0.0 or after.epsilon_spent() > self.epsilon:
            raise BudgetSpentError(
                f"of the epsilon of {self.epsilon:g} (delta {self.delta:g}) {self.epsilon_spent():.3f} is spent, and "
                f"a unit of {steps} steps would go past it; nothing was trained. What was sent stays protected. To go "
                "on, choose a larger one: --private EPSILON"
            )
        return after

    def _noise_for(self, rate: float, steps: int) -> float:
        """That lets ``units`` such units into what is left; raises where there is nothing left."""
        before = [part.spent for part in self.spent]
        try:
            return noise_for(self.epsilon, self.delta, rate, self.units * steps, before)
        except ValueError as error:
            raise BudgetSpentError(
                f"of the epsilon of {self.epsilon:g} (delta {self.delta:g}) {self.epsilon_spent():.3f} is spent "
                f"already: {error}; nothing was trained. To go on, choose a larger one: --private EPSILON"
            ) from error

    def words(self) -> str:
        """How it stands, for the owner."""
        return (
            f"privacy: epsilon {self.epsilon_spent():.3f} of {self.epsilon:g} at delta {self.delta:g} is spent, with "
            f"noise of {self.noise:.3f} times the clipping bound"
        )


def load_budget(path: Path) -> Budget | None:
    """What is in the file; None when there is none.

    Raises:
        VerificationError: it was altered.
    """
    try:
        return Budget.read(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, MessageError) as error:
        raise VerificationError(
            f"{path} is not an account of privacy; nothing was trained, for what is spent is not known. Move the "
            "node's folder away to begin another account, of which what was sent before is no part"
        ) from error


def save_budget(path: Path, budget: Budget) -> None:
    """Durably, before the unit that it pays for begins.

    Raises:
        DiskFullError: no space left.
    """
    replace_file(path, canonical_json(budget.model_dump(mode="json")))


def _joined(parts: tuple[Steps, ...]) -> tuple[Steps, ...]:
    """Steps that are alike as one entry, so that the file stays small however many units there are."""
    counts: dict[tuple[float, float], int] = {}
    for part in parts:
        counts[part.rate, part.noise] = counts.get((part.rate, part.noise), 0) + part.steps
    return tuple(Steps(rate=rate, noise=noise, steps=steps) for (rate, noise), steps in counts.items())
