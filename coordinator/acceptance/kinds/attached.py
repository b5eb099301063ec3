"""Attached fine-tunes: is what people built on an earlier release as good on this one?

A cheap downstream test: what a fine-tune changed in an earlier release is put on this one, with no
training at all or with a few steps of it, and the result is measured as any model. Whether the
fine-tune would turn out the same if it were made anew is another question; how well the one
answers the other was measured, see docs/acceptance.md, "Attached fine-tunes".

Source: task vectors, Ilharco et al. 2023, https://arxiv.org/abs/2212.04089; that every change of a
shared model should be tested by what is made of it, Raffel 2023, https://doi.org/10.1145/3545111.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.evaluate import score_texts, texts_of
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import BITS_PER_BYTE, SHARE, Metric
from coordinator.acceptance.models.subject import Adaptable, Subject
from coordinator.acceptance.models.tuning import Tuning
from merge.strategies.options import require

__all__ = ["Attached"]


@dataclass(frozen=True, slots=True)
class Attached:
    """Loss, or accuracy, of the model with an attachment; a line of a data set has a ``text``.

    Attributes:
        attachment: its name in the suite. scale: times what it adds; of low-rank factors as peft writes them,
            ``lora_alpha / r``.
        measures: ``loss``, in bits a byte, or ``accuracy``, whether the last token is known.
        steps: of AdamW from there on, on the lines of the data set that ``train`` names.
        learning_rate, batch, seed: of these steps.
    """

    name: ClassVar[str] = "attached"
    takes: ClassVar[Takes] = "either"
    version: ClassVar[int] = 1
    attachment: str = ""
    scale: float = 1.0
    measures: Literal["loss", "accuracy"] = "loss"
    steps: int = 0
    train: str = ""
    learning_rate: float = 1e-3
    batch: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        require(self, "attachment", self.attachment != "", "the name of one in [attachments] of the suite")
        require(self, "steps", 0 <= self.steps <= 1000, "a number from 0 to 1000: more is no cheap test")
        trains = "the name of a data set" if self.steps else "none: without steps nothing is trained"
        require(self, "train", bool(self.train) == bool(self.steps), trains)
        require(self, "learning_rate", 0 < self.learning_rate < 1, "a number in (0, 1)")
        require(self, "batch", 1 <= self.batch <= 4096, "a number from 1 to 4096")
        require(self, "seed", self.seed >= 0, "0 or more")

    @property
    def metric(self) -> Metric:
        return BITS_PER_BYTE if self.measures == "loss" else SHARE

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        if examples.attachment is None:
            raise AcceptanceError(f"attachment {self.attachment} is not at hand; restore its file")
        if not isinstance(subject, Adaptable):
            raise AcceptanceError("an attachment can only be put on a trunk of a run, this model is another kind")
        adapted = subject.adapted(examples.attachment, self.scale)
        if self.steps:
            lines = texts_of(Examples(rows=examples.train))
            tuned = adapted.tuned(lines, Tuning(self.steps, self.learning_rate, self.batch, self.seed))
        else:
            tuned = adapted
        scored = score_texts(tuned, texts_of(examples))
        notes = {"made": dict(examples.attachment.made)}
        if self.measures == "accuracy":
            return Measured(scored.last_right_N.astype(np.float64), notes)
        return Measured(scored.bits_N / scored.bytes_N, notes)
