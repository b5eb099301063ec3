"""Multiple choice: is the right answer the one that the model finds most likely?

Nothing is generated: every choice is scored as a continuation of the prompt. Long choices have more
bits than short ones, which ``normalise`` can set off: per byte of the choice (what the field's
harness reports as ``acc_bytes``; its ``acc_norm`` counts characters), or per token.

Source: Brown et al. 2020, https://arxiv.org/abs/2005.14165 (section 2.4, per token); Gao 2021,
https://blog.eleuther.ai/multiple-choice-normalization/ (per byte, and what each one means).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from coordinator.acceptance.asking.choices import Normalise, score_choices
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import SHARE, Metric
from coordinator.acceptance.models.subject import Subject

__all__ = ["MultipleChoice"]


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """1 where the right choice is the most likely, else 0, a tie too.

    A line has a ``prompt``, ``choices``, and the number of the right one, from 0 on, under ``answer``.

    Attributes:
        normalise: what the bits of a choice are divided by: ``none``, its ``bytes`` or its ``tokens``.
    """

    name: ClassVar[str] = "multiple-choice"
    takes: ClassVar[Takes] = "rows"
    version: ClassVar[int] = 1
    normalise: Normalise = "none"

    @property
    def metric(self) -> Metric:
        return SHARE

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        answered = score_choices(subject, examples, self.normalise)
        return Measured(np.array([one.right for one in answered], dtype=np.float64))
