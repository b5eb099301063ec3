"""Latency: seconds of a forward pass, on the machine that runs the test.

The median of several passes, after some that do not count. It depends on the machine and on what
else that does, so a margin should be generous.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import SECONDS, Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["Latency", "pass_seconds"]

WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Latency:
    """One number: the median seconds of a forward pass.

    Attributes:
        tokens: of each text. batch: texts at once. repeats: passes that count.
        limit_s: a model may never take longer.
    """

    name: ClassVar[str] = "latency"
    takes: ClassVar[Takes] = "nothing"
    version: ClassVar[int] = 1
    tokens: int = 64
    batch: int = 1
    repeats: int = 9
    limit_s: float = math.inf

    def __post_init__(self) -> None:
        require(self, "tokens", self.tokens >= 1, "1 or more")
        require(self, "batch", 1 <= self.batch <= 1024, "a number from 1 to 1024")
        require(self, "repeats", 3 <= self.repeats <= 1000, "a number from 3 to 1000")
        require(self, "limit_s", self.limit_s > 0, "seconds above 0")

    @property
    def metric(self) -> Metric:
        return SECONDS

    @property
    def limit(self) -> float | None:
        return self.limit_s if math.isfinite(self.limit_s) else None

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        if self.tokens > subject.context:
            raise AcceptanceError(
                f"latency of {self.tokens} tokens is asked for, the model sees {subject.context} at once; lower tokens"
            )
        some = subject.encode(b"a text of no meaning, ")
        tokens_T = torch.tensor((some * self.tokens)[: self.tokens], dtype=torch.int64)
        tokens_BT = tokens_T.expand(self.batch, -1).contiguous()
        seconds = pass_seconds(lambda: subject.logits(tokens_BT), self.repeats, time.perf_counter)
        notes = {"fastest_s": float(seconds.min()), "slowest_s": float(seconds.max()), "passes": self.repeats}
        return Measured(np.array([np.median(seconds)], dtype=np.float64), notes)


def pass_seconds(run: Callable[[], object], repeats: int, clock: Callable[[], float]) -> NDArray[np.float64]:
    """Seconds of each of several passes, float64 [repeats]; the first ones are made twice.

    Args:
        clock: seconds that never go back.
    """
    for _ in range(WARM_UP):
        run()
    seconds = []
    for _ in range(repeats):
        start = clock()
        run()
        seconds.append(clock() - start)
    return np.array(seconds, dtype=np.float64)
