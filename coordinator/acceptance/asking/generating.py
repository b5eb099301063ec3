"""Let a model write on, greedily: always the token that it finds most likely.

Of tokens whose logits lie within ``TIE`` of the highest the first one is taken: rounding differs
from batch to batch, and must not decide between equals.

N  prompts
B  prompts of a batch, all of one length
V  vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.evaluate import batches
from coordinator.acceptance.models.subject import Subject

__all__ = ["Written", "generate"]

TIE = 1e-4


@dataclass(slots=True)
class Written:
    """What a model wrote after a prompt.

    Attributes:
        text: without the prompt, and without what it was to stop at.
        finite: whether the model gave finite logits all along; what it wrote ends where it did not.
    """

    text: bytes = b""
    finite: bool = True


@dataclass(slots=True)
class _Page:
    """A text under way."""

    prompt: list[int]
    written: Written = field(default_factory=Written)
    tokens: list[int] = field(default_factory=list)


def generate(subject: Subject, prompts: Sequence[bytes], max_tokens: int, stops: Sequence[bytes] = ()) -> list[Written]:
    """What a model writes after each prompt; of a long one it sees the end.

    Args:
        max_tokens: at most so many. stops: texts at whose first appearance it ends.

    Raises:
        AcceptanceError: a prompt has no token.
    """
    pages = [_Page(subject.encode(prompt)) for prompt in prompts]
    for number, page in enumerate(pages, 1):
        if not page.prompt:
            raise AcceptanceError(f"example {number} has an empty prompt; a model writes on after a text")
    for picked in batches([len(page.prompt) for page in pages]):
        under_way = [pages[index] for index in picked]
        for _ in range(max_tokens):
            under_way = _write(subject, under_way, stops)
            if not under_way:
                break
    return [page.written for page in pages]


def _write(subject: Subject, pages: list[_Page], stops: Sequence[bytes]) -> list[_Page]:
    """One more token for each; those that go on."""
    tokens_BT = torch.tensor([[*page.prompt, *page.tokens][-subject.context :] for page in pages], dtype=torch.int64)
    last_BV = subject.logits(tokens_BT)[:, -1]
    finite_B = torch.isfinite(last_BV).all(dim=-1)
    on = []
    for page, finite, token in zip(pages, finite_B.tolist(), _likeliest(last_BV), strict=True):
        page.written.finite = finite
        if not finite or token == subject.end:
            continue
        page.tokens.append(token)
        if not _stopped(subject, page, stops):
            on.append(page)
    return on


def _likeliest(last_BV: Tensor) -> list[int]:
    near_BV = last_BV >= last_BV.amax(dim=-1, keepdim=True) - TIE
    return [int(token) for token in near_BV.numpy().argmax(axis=-1)]


def _stopped(subject: Subject, page: _Page, stops: Sequence[bytes]) -> bool:
    """Whether a text is at its end; what it says so far is put down."""
    whole = subject.decode([*page.prompt, *page.tokens])
    text = whole[len(subject.decode(page.prompt)) :]
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    page.written.text = text[: min(ends)] if ends else text
    return bool(ends)
