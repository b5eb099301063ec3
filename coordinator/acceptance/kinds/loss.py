"""Loss: the bits that a model needs to predict a text. Lower is better; guessing bytes costs 8 a byte.

Per byte models of different vocabularies can be compared: Gao et al. 2020,
https://arxiv.org/abs/2101.00027 (section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from coordinator.acceptance.asking.evaluate import score_texts, texts_of
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import BITS_PER_BYTE, BITS_PER_TOKEN, Metric
from coordinator.acceptance.models.subject import Subject

__all__ = ["Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of every text; a line of a data set has a ``text``.

    Attributes:
        per: ``byte`` or ``token``.
    """

    name: ClassVar[str] = "loss"
    takes: ClassVar[Takes] = "either"
    version: ClassVar[int] = 1
    per: Literal["byte", "token"] = "byte"

    @property
    def metric(self) -> Metric:
        return BITS_PER_BYTE if self.per == "byte" else BITS_PER_TOKEN

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        texts = texts_of(examples)
        scored = score_texts(subject, texts)
        return Measured(scored.bits_N / (scored.bytes_N if self.per == "byte" else scored.tokens_N))
