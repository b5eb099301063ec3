"""How many of the tokens that a contributor states are counted: what its lease, and the clock, make plausible.

A contributor could state any number, and a run may weigh updates by it. So what is stated is only ever an upper
bound, and the least of these counts:

- what is stated;
- what the lease asks for: its steps, times its batch, times what an example has;
- what the steps and examples that are stated beside it amount to;
- what a machine a good deal faster than the run's fast ones could do from lease to receipt.

The last one needs other contributors to compare with. Each has one voice, the fastest of its newest updates; a
quarter of them, and two at least, must be as fast as what counts as fast, so one liar does not move it, and what was
counted of an update, not what it stated, is what later ones are compared with. With fewer than four others nothing is
compared. No update counts for less than one token, so that a statement of nothing cannot stop a round from merging.

It is decided once, when the last byte of an update is there, and recorded with it; weights, pages and ``recompute``
read that record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from barnraise.config import RunConfig

__all__ = ["Counted", "Pace", "Stated", "Work", "count_tokens", "fast_pace"]

OTHERS_MIN = 4
VOICES_MIN = 2
AS_FAST = 0.25
FASTER_AT_MOST = 10.0


@dataclass(frozen=True, slots=True)
class Stated:
    """What an envelope says."""

    tokens: int
    examples: int
    steps: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a lease asks for: ``steps`` of ``batch`` examples of at most ``tokens`` each."""

    steps: int
    batch: int
    tokens: int

    @classmethod
    def of(cls, config: RunConfig) -> Work:
        """Of every lease of a run."""
        context = getattr(config.model, "context", None)
        return cls(config.training.steps, config.training.batch, 1 if context is None else int(context))


@dataclass(frozen=True, slots=True)
class Pace:
    """An earlier update: whose, and counted tokens a second from lease to receipt."""

    contributor: str
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens and steps that count, and why not all that were stated; "" when all were."""

    tokens: int
    steps: int
    reason: str = ""


def count_tokens(stated: Stated, work: Work, took_s: float, paces: Sequence[Pace], contributor: str) -> Counted:
    """What counts of a statement.

    Args:
        took_s: from lease to receipt, by the coordinator's clock.
        paces: of the newest updates of the run, anybody's.
        contributor: who states it.
    """
    steps = min(stated.steps, work.steps)
    examples = min(stated.examples, steps * work.batch)
    possible = examples * work.tokens
    reason = ""
    if stated.tokens > possible:
        reason = (
            f"{stated.tokens:,} tokens in {stated.examples:,} examples and {stated.steps:,} steps were stated, the "
            f"lease has room for {possible:,} ({steps:,} steps of {work.batch:,} examples of {work.tokens:,})"
        )
    fast = fast_pace(pace for pace in paces if pace.contributor != contributor)
    in_time = possible if fast is None else int(FASTER_AT_MOST * fast * max(took_s, 0.0))
    if fast is not None and in_time < min(possible, stated.tokens):
        reason = (
            f"{stated.tokens:,} tokens in {took_s:,.1f} s were stated, {in_time:,} count: fast machines of this run "
            f"do {fast:,.0f} a second, and {FASTER_AT_MOST:g} times that is believed"
        )
    tokens = max(1, min(stated.tokens, possible, in_time))
    return Counted(tokens, steps, reason or ("" if stated.tokens > 0 else "no tokens were stated; 1 counts"))


def fast_pace(paces: Iterable[Pace]) -> float | None:
    """Tokens a second that a quarter of the contributors reach, and two at least; None with too few to say."""
    best: dict[str, float] = {}
    for pace in paces:
        best[pace.contributor] = max(pace.tokens_per_s, best.get(pace.contributor, 0.0))
    if len(best) < OTHERS_MIN:
        return None
    fastest_first = sorted(best.values(), reverse=True)
    return fastest_first[max(VOICES_MIN, math.ceil(AS_FAST * len(fastest_first))) - 1]
