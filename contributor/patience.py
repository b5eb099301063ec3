"""Ask until there is an answer, and say meanwhile what is being waited for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from barnraise.errors import NetworkError, UnreachableError
from contributor.backoff import after_failure, worth_repeating
from contributor.events import NodeEvent, Waiting
from contributor.interrupt import Interrupt, StopRequestedError
from contributor.whereabouts import Whereabouts

__all__ = ["Patience"]

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Repeats requests to one coordinator, wherever that is.

    Attributes:
        where: told whether it answers; may be moved meanwhile.
        give_up_after_s: of waiting in one request; None waits for ever.
        jitter: random numbers in [0, 1).
    """

    where: Whereabouts
    interrupt: Interrupt
    report: Callable[[NodeEvent], None]
    give_up_after_s: float | None = None
    jitter: Callable[[], float] = random.random

    @property
    def url(self) -> str:
        """Of the coordinator, now."""
        return self.where.url

    def ask(self, call: Callable[[], T], *, busy: Callable[[], bool] = lambda: False) -> T:
        """The answer of ``call``, however many attempts it takes.

        Args:
            call: raises a NetworkError when it fails; safe to repeat.
            busy: whether to go on through the first Ctrl-C, for there is a unit to finish.

        Raises:
            NetworkError: a refusal that will not change, or patience is at its end.
            StopRequestedError: a person asked to stop meanwhile.
        """
        failures, waited_s, url = 0, 0.0, self.url
        while True:
            if self.url != url:  # it was found elsewhere: a beginning, not another failure
                failures, waited_s, url = 0, 0.0, self.url
            try:
                answer = call()
                self.where.heard()
                return answer
            except NetworkError as error:
                if isinstance(error, UnreachableError):
                    self.where.missed()
                failures += 1
                pause = after_failure(failures, error, self.url, self.jitter())
                waited_s += pause.delay_s
                if not worth_repeating(error):
                    raise
                if self.give_up_after_s is not None and waited_s > self.give_up_after_s:
                    raise UnreachableError(
                        f"gave up on {self.url} after {failures} attempts: {error}. "
                        f"Find out why: barnraise doctor {self.url}"
                    ) from error
            self.report(Waiting(pause.reason))
            self.interrupt.wait(pause.delay_s, until_stop=busy())
            if self.interrupt.stop or (self.interrupt.finish and not busy()):
                raise StopRequestedError
