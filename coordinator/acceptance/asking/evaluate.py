"""Ask a model for the text it was given: bits it needs for each, and whether it knows the end.

Scoring is total: parameters of any size give finite scores. A model that overflows gives the
right token no chance, and is scored so, rather than stopping the suite.

N  texts
B  texts of a batch, all of one length
T  tokens of a text that are predicted
V  vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.lines import lines_of
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.models.answering_subject import AnswersExamples
from coordinator.acceptance.models.subject import Subject

__all__ = ["BATCH", "WORST_BITS", "Scored", "batches", "score_examples", "score_texts", "texts_of", "token_bits"]

BATCH = 32

WORST_BITS = 64.0
"""Bits of a token that a model gives no chance at all. Guessing a byte costs 8."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model gives to texts.

    Attributes:
        bits_N: float64 [N], all bits of a text but its first token's.
        tokens_N, bytes_N: float64 [N], how many tokens, and bytes, those are for.
        last_right_N: bool [N], whether the last token is the most likely one.
        last_p_N: float64 [N], probability of the most likely last token; 1 where a model gives no finite ones.
    """

    bits_N: NDArray[np.float64]
    tokens_N: NDArray[np.float64]
    bytes_N: NDArray[np.float64]
    last_right_N: NDArray[np.bool_]
    last_p_N: NDArray[np.float64]


def score_examples(subject: Subject, examples: Examples) -> Scored:
    """What a model gives to examples: to texts, or, where it answers, to the answers of examples.

    An answer counts as one token and one byte.

    Raises:
        AcceptanceError: as :func:`texts_of` and :func:`score_texts`, or examples that the model cannot answer.
    """
    if not isinstance(subject, AnswersExamples):
        return score_texts(subject, texts_of(examples))
    if examples.windows is None:
        raise AcceptanceError("a model that answers reads the examples of a shard; name one instead of a data set")
    logits_NC, wanted_N = subject.answer(examples.windows)
    right_N, p_N = _last(logits_NC[:, None], wanted_N[:, None])
    ones_N = np.ones(len(wanted_N))
    bits_N = token_bits(logits_NC[:, None], wanted_N[:, None])[:, 0].numpy()
    return Scored(bits_N, ones_N, ones_N, right_N.numpy(), p_N.numpy())


def texts_of(examples: Examples) -> list[bytes]:
    """The texts in windows, or under ``text`` in the lines of a data set.

    Raises:
        AcceptanceError: a line has none, or there is no example at all.
    """
    if not len(examples):
        raise AcceptanceError("there are no examples to look at; a test without any promises nothing")
    if examples.windows is not None:
        return [row.tobytes() for row in examples.windows]
    return [line.text("text", least_bytes=2) for line in lines_of(examples)]


def score_texts(subject: Subject, texts: Sequence[bytes]) -> Scored:
    """Loss of every text, and whether its last token is known; on the CPU in float32.

    A text longer than the model sees at once is cut off at its context.

    Raises:
        AcceptanceError: a text is a single token, so that there is nothing to predict.
    """
    tokens = [subject.encode(text)[: subject.context + 1] for text in texts]
    count = len(texts)
    for index, one in enumerate(tokens):
        if len(one) < 2:
            raise AcceptanceError(f"example {index + 1} is a single token, so that there is nothing to predict")
    found = Scored(np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count, bool), np.zeros(count))
    for picked in batches([len(one) for one in tokens]):
        tokens_BT1 = torch.tensor([tokens[index] for index in picked], dtype=torch.int64)
        targets_BT = tokens_BT1[:, 1:]
        logits_BTV = subject.logits(tokens_BT1[:, :-1])
        found.bits_N[picked] = token_bits(logits_BTV, targets_BT).sum(dim=1).numpy()
        right_B, p_B = _last(logits_BTV, targets_BT)
        found.last_right_N[picked], found.last_p_N[picked] = right_B.numpy(), p_B.numpy()
    for index, one in enumerate(tokens):
        found.tokens_N[index] = len(one) - 1
        found.bytes_N[index] = len(subject.decode(one)) - len(subject.decode(one[:1]))
    return found


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts of one length together, up to ``BATCH`` of them, in their order."""
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    for _, picked in sorted(by_length.items()):
        for start in range(0, len(picked), BATCH):
            yield picked[start : start + BATCH]


def token_bits(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Bits of each token, float64 [B, T]; one that is given no finite chance counts as ``WORST_BITS``."""
    nats_BT = functional.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="none").double()
    bits_BT = torch.nan_to_num(nats_BT / math.log(2), nan=WORST_BITS, posinf=WORST_BITS)
    return bits_BT.clamp(0.0, WORST_BITS)


def _last(logits_BTV: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the last token is the most likely one, bool [B], and how likely that one is, float64 [B]."""
    last_BV = logits_BTV[:, -1].double()
    finite_B = torch.isfinite(last_BV).all(dim=-1)
    p_B = torch.nan_to_num(torch.softmax(last_BV, dim=-1)).amax(dim=-1)
    return (last_BV.argmax(dim=-1) == targets_BT[:, -1]) & finite_B, torch.where(finite_B, p_B, torch.ones_like(p_B))
