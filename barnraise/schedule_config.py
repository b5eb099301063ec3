"""How the learning rate moves from round to round, as ``[schedule]`` states it: it rises, stays, and falls at the end.

The coordinator writes it into each lease, so everybody in a round trains at the same rate, and a contributor needs to
know nothing of it. Rounds count as they are opened, whatever becomes of them.

      1 |      .---------------.
        |    .'                 '.
        |  .'                     '.
 lowest |.'                         '-----
        +------------------------------------ round
         rising_rounds  falls_from  falling_rounds

Source: a stable stretch before a linear decay (WSD), Hu et al. 2024, https://arxiv.org/abs/2404.06395
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from barnraise.sections import Positive, Section

__all__ = ["ScheduleConfig"]


class ScheduleConfig(Section):
    """Factors of ``training.learning_rate``, one for each round.

    Attributes:
        rising_rounds: with a lower rate, before the first that has all of it.
        falls_from: the first round with less than all of it again; None means never.
        falling_rounds: in which it falls evenly to ``lowest``, where it stays.
    """

    rising_rounds: Annotated[int, Field(ge=0)] = 0
    falls_from: Positive | None = None
    falling_rounds: Positive = 10
    lowest: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _falls_after_it_has_risen(self) -> ScheduleConfig:
        if self.falls_from is not None and self.falls_from <= self.rising_rounds:
            raise ValueError(
                f"falls_from {self.falls_from} is before the rise has ended, which takes rising_rounds "
                f"{self.rising_rounds}; let it fall from round {self.rising_rounds + 1} or a later one"
            )
        for key in ("falling_rounds", "lowest"):
            if self.falls_from is None and getattr(self, key) != ScheduleConfig.model_fields[key].default:
                raise ValueError(
                    f"{key} says how the rate falls, and falls_from does not say in which round that begins"
                )
        return self

    def factor(self, number: int) -> float:
        """Of round ``number``, which counts from 1; in (0, 1]."""
        if self.falls_from is None or number < self.falls_from:
            return min(1.0, number / (self.rising_rounds + 1))
        fallen = min(1.0, (number - self.falls_from + 1) / self.falling_rounds)
        return 1 - (1 - self.lowest) * fallen
