"""Loss: the bits that a model needs to predict a text. Lower is better; guessing bytes costs 8 a byte.

Per byte models of different vocabularies can be compared: Gao et al. 2020,
https://arxiv.org/abs/2101.00027 (section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.evaluate import score_examples
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import BITS_PER_ANSWER, BITS_PER_BYTE, BITS_PER_TOKEN, Metric
from coordinator.acceptance.models.answering_subject import AnswersExamples
from coordinator.acceptance.models.subject import Subject

__all__ = ["Loss", "own_loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of every text, or answer; a line of a data set has a ``text``.

    Attributes:
        per: ``byte`` or ``token`` of a text, or ``answer``, where the model answers.
    """

    name: ClassVar[str] = "loss"
    takes: ClassVar[Takes] = "either"
    version: ClassVar[int] = 1
    per: Literal["byte", "token", "answer"] = "byte"

    @property
    def metric(self) -> Metric:
        return {"byte": BITS_PER_BYTE, "token": BITS_PER_TOKEN, "answer": BITS_PER_ANSWER}[self.per]

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        if isinstance(subject, AnswersExamples) != (self.per == "answer"):
            wanted = "answer" if self.per != "answer" else "byte or token"
            raise AcceptanceError(f"a loss per {self.per} is asked for, of this model it is per {wanted}; set per")
        scored = score_examples(subject, examples)
        return Measured(scored.bits_N / (scored.bytes_N if self.per == "byte" else scored.tokens_N))


def own_loss(subject: Subject) -> Loss:
    """The loss that a model is trained on: per byte of text, or per answer."""
    return Loss("answer") if isinstance(subject, AnswersExamples) else Loss()
