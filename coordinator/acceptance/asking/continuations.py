"""How likely a model finds a text after another one: its log-likelihood, in bits.

Which tokens are the continuation's is found by comparing: those of both texts together, after
the beginning that they share with those of the prompt alone. A tokeniser that joins the
prompt's last space with the word after it is so asked for that word, as it was in training.

Scores of one continuation differ by rounding from batch to batch; ``TIE_BITS`` is far above
that, and differences below it mean nothing.

N  continuations
T  tokens of prompt and continuation that are predicted
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.evaluate import batches, token_bits
from coordinator.acceptance.models.subject import Subject

__all__ = ["TIE_BITS", "Continued", "score_continuations", "score_ends"]

TIE_BITS = 1e-3


@dataclass(frozen=True, slots=True)
class Continued:
    """What a model gives to continuations.

    Attributes:
        bits_N: float64 [N], all bits of each. tokens_N: float64 [N], how many tokens those are for.
        bytes_N: float64 [N], how many bytes the continuation has as it was given.
        greedy_N: bool [N], whether each of its tokens is the most likely one.
        finite_N: bool [N], whether the model gives finite chances at all; of one that does not nothing is known.
    """

    bits_N: NDArray[np.float64]
    tokens_N: NDArray[np.float64]
    bytes_N: NDArray[np.float64]
    greedy_N: NDArray[np.bool_]
    finite_N: NDArray[np.bool_]


def score_continuations(subject: Subject, pairs: Sequence[tuple[bytes, bytes]], *, cut: bool = True) -> Continued:
    """Score each continuation after its prompt; on the CPU in float32.

    Args:
        pairs: prompt and continuation.
        cut: whether a prompt may lose its beginning where both are longer than the model sees at once.

    Raises:
        AcceptanceError: a prompt, or a continuation, of no token, or too long for the model.
    """
    split = [_split(subject, number, pair, cut) for number, pair in enumerate(pairs, 1)]
    return score_ends(subject, split, [len(continuation) for _, continuation in pairs])


def score_ends(subject: Subject, split: Sequence[tuple[list[int], int]], sizes_bytes: Sequence[int]) -> Continued:
    """Score the last tokens of each text.

    Args:
        split: all tokens, one more than the model sees at most, and from which one on they are scored; never the first.
        sizes_bytes: bytes that each of the ends has.
    """
    count = len(split)
    bytes_N = np.array(sizes_bytes, dtype=np.float64)
    found = Continued(np.zeros(count), np.zeros(count), bytes_N, np.zeros(count, bool), np.zeros(count, bool))
    for picked in batches([len(tokens) for tokens, _ in split]):
        tokens_BT1 = torch.tensor([split[index][0] for index in picked], dtype=torch.int64)
        logits_BTV, targets_BT = subject.logits(tokens_BT1[:, :-1]), tokens_BT1[:, 1:]
        bits_BT = token_bits(logits_BTV, targets_BT).numpy()
        likeliest_BT = (logits_BTV.argmax(dim=-1) == targets_BT).numpy()
        finite_BT = torch.isfinite(logits_BTV).all(dim=-1).numpy()
        for row, index in enumerate(picked):
            first = split[index][1] - 1
            found.bits_N[index] = bits_BT[row, first:].sum()
            found.tokens_N[index] = bits_BT.shape[1] - first
            found.finite_N[index] = finite_BT[row, first:].all()
            found.greedy_N[index] = likeliest_BT[row, first:].all() and found.finite_N[index]
    return found


def _split(subject: Subject, number: int, pair: tuple[bytes, bytes], cut: bool) -> tuple[list[int], int]:
    """All tokens that the model sees or is asked for, and where those begin that it is asked for."""
    prompt, continuation = pair
    before, tokens = subject.encode(prompt), subject.encode(prompt + continuation)
    start = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(before, tokens, strict=False)))
    asked, most = len(tokens) - start, subject.context
    if start == 0 or asked == 0:
        raise AcceptanceError(
            f"text {number}, {(prompt + continuation)[:40]!r}, has {start} tokens of prompt and {asked} of "
            "continuation, expected one of each or more"
        )
    if asked > most or (not cut and len(tokens) > most + 1):
        raise AcceptanceError(
            f"text {number}, {(prompt + continuation)[:40]!r}, has {len(tokens)} tokens, {asked} of them to be "
            f"predicted, and the model sees {most} at once; shorten it"
        )
    tokens = tokens[-(most + 1) :]
    return tokens, len(tokens) - asked
