"""Questions with several answers: how likely a model finds each of them after the question.

A line has a ``prompt``, two ``choices`` or more, and under ``answer`` which of them is right, from
0 on. A choice continues the prompt as it stands, so a space between the two belongs to one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.continuations import TIE_BITS, score_continuations
from coordinator.acceptance.asking.lines import lines_of
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.models.subject import Subject

__all__ = ["Answered", "Normalise", "score_choices"]

Normalise = Literal["none", "bytes", "tokens"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model gives to the choices of one question.

    Attributes:
        bits: float64, of each choice, divided as asked for.
        finite: whether the model gave all of them finite chances.
        answer: which one is right.
    """

    bits: NDArray[np.float64]
    finite: bool
    answer: int

    @property
    def right(self) -> bool:
        """Whether the right one is clearly the most likely; a model that cannot tell does not know it."""
        others = np.delete(self.bits, self.answer)
        return self.finite and bool(self.bits[self.answer] < others.min() - TIE_BITS)


def score_choices(subject: Subject, examples: Examples, normalise: Normalise) -> list[Answered]:
    """What a model gives to every question.

    Raises:
        AcceptanceError: a line lacks something, or there is none.
    """
    questions = [
        (line.text("prompt"), choices, line.index("answer", len(choices)))
        for line in lines_of(examples)
        for choices in [line.texts("choices", least=2)]
    ]
    if not questions:
        raise AcceptanceError("there are no questions to ask; a test without examples promises nothing")
    scored = score_continuations(subject, [(prompt, choice) for prompt, choices, _ in questions for choice in choices])
    lengths = {"none": np.ones_like(scored.bits_N), "bytes": scored.bytes_N, "tokens": scored.tokens_N}
    bits_N, answered, start = scored.bits_N / lengths[normalise], [], 0
    for _, choices, answer in questions:
        those = slice(start, start + len(choices))
        answered.append(Answered(bits_N[those], bool(scored.finite_N[those].all()), answer))
        start += len(choices)
    return answered
