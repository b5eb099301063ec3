"""Robustness: what the same inputs cost the model under noise.

Each text is cut in the middle. The first half gets noise, the second half stays as it is, and its
loss is measured after the noisy first half: what is asked stays the same, and can be predicted,
which noise itself cannot. The notes have the loss without noise.

Source: Belinkov and Bisk 2018, https://arxiv.org/abs/1711.02173 (synthetic noise in characters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from coordinator.acceptance.asking.continuations import score_continuations
from coordinator.acceptance.asking.evaluate import texts_of
from coordinator.acceptance.asking.noise import Noise, with_noise
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import BITS_PER_BYTE, Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["Robustness"]


@dataclass(frozen=True, slots=True)
class Robustness:
    """Bits a byte of the second half after a noisy first half; a line of a data set has a ``text``.

    Of a text the first bytes are taken, as many as the model sees tokens at once.

    Attributes:
        noise: ``substitute`` replaces bytes, ``shift`` deletes some and inserts others, ``swap`` exchanges neighbours.
        rate: share of the first half's bytes that is hit.
    """

    name: ClassVar[str] = "robustness"
    takes: ClassVar[Takes] = "either"
    version: ClassVar[int] = 1
    noise: Noise = "substitute"
    rate: float = 0.1

    def __post_init__(self) -> None:
        require(self, "rate", 0.0 < self.rate <= 1.0, "a share in (0, 1]")

    @property
    def metric(self) -> Metric:
        return BITS_PER_BYTE

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        halves = [_halves(text, subject.context) for text in texts_of(examples)]
        noisy = score_continuations(subject, [(with_noise(one, self.noise, self.rate), two) for one, two in halves])
        clean = score_continuations(subject, halves)
        notes = {"clean_mean": float(np.mean(clean.bits_N / clean.bytes_N)), "unit": self.metric.unit}
        return Measured(noisy.bits_N / noisy.bytes_N, notes)


def _halves(text: bytes, context: int) -> tuple[bytes, bytes]:
    """The beginning of a text in two halves, cut where a character begins."""
    text = text[: _start(text, min(len(text), context + 1))]
    middle = max(1, _start(text, len(text) // 2))
    return text[:middle], text[middle:]


def _start(text: bytes, place: int) -> int:
    """The last place up to this one, or the first after it, at which a character begins; the text's end is one."""
    at = place
    while 0 < at < len(text) and text[at] & 0xC0 == 0x80:
        at -= 1
    return at or place
