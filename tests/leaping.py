"""An event loop in which no time is waited for: whenever nothing else happens, its clock leaps to what is next.

So time limits of many minutes can be tested, exactly. What would run on another thread runs at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["leaping"]

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is left to happen, and somebody waits for it"
        ready = super().select(0)
        if not ready:
            self.now_s += max(timeout, 0.0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaps = _Selector()
        super().__init__(self._leaps)

    def time(self) -> float:
        return self._leaps.now_s

    def run_in_executor(self, _executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  whoever awaits it hears of it, as of a thread's
            done.set_exception(error)
        return done


def leaping(story: Coroutine[Any, Any, T]) -> T:
    """What a story comes to, however long it takes by its own clock."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(story)
