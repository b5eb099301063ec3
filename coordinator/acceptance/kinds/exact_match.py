"""Exact match: does the model write just the answer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.generating import Written, generate
from coordinator.acceptance.asking.lines import Line, lines_of
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import SHARE, Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["ExactMatch"]

SPACE = 8
"""Tokens of white space that may come before an answer."""


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """1 where what the model writes after the ``prompt`` is the ``answer``, but for space around both; else 0.

    It writes greedily: always the likeliest token.

    Attributes:
        stop: ``newline``: it ends with the line; ``length``: after as many bytes as the answer has, space before it
            not counted.
        max_tokens: it never writes more.
    """

    name: ClassVar[str] = "exact-match"
    takes: ClassVar[Takes] = "rows"
    version: ClassVar[int] = 1
    stop: Literal["newline", "length"] = "newline"
    max_tokens: int = 64

    def __post_init__(self) -> None:
        require(self, "max_tokens", 1 <= self.max_tokens <= 4096, "a number from 1 to 4096")

    @property
    def metric(self) -> Metric:
        return SHARE

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        asked = [(line.text("prompt"), _answer(line)) for line in lines_of(examples)]
        if not asked:
            raise AcceptanceError("there are no questions to ask; a test without examples promises nothing")
        stops = (b"\n",) if self.stop == "newline" else ()
        written = generate(subject, [prompt for prompt, _ in asked], self._most(asked), stops)
        right = [self._is(one, answer) for one, (_, answer) in zip(written, asked, strict=True)]
        return Measured(np.array(right, dtype=np.float64))

    def _most(self, asked: list[tuple[bytes, bytes]]) -> int:
        """Tokens that are enough for every answer: none has more tokens than bytes."""
        if self.stop == "newline":
            return self.max_tokens
        return min(self.max_tokens, SPACE + max(len(answer) for _, answer in asked))

    def _is(self, written: Written, answer: bytes) -> bool:
        text, expected = written.text.strip(), answer.strip()
        return written.finite and (text if self.stop == "newline" else text[: len(expected)]) == expected


def _answer(line: Line) -> bytes:
    answer = line.text("answer")
    if not answer.strip():
        line.refuse("an 'answer' that is not only space", line.row["answer"])
    return answer
