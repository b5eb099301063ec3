"""One pass over all tensors on a few threads, that can be stopped between two blocks.

Tensors do not depend on each other, so it does not matter who does which or when. The
largest go first, or a thread would be left alone with one at the end.

T  result for one tensor
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from barnraise.native import use_threads
from merge.offline.job import MergedTensor

__all__ = ["Progress", "StopError", "over_tensors"]

T = TypeVar("T")

Report = Callable[[int], None]


class StopError(Exception):
    """Unwinds a thread whose work is no longer wanted: somebody else had an error, or wants to stop."""


@dataclass(frozen=True)
class Progress:
    """How far a pass is, and whether it should go on.

    Attributes:
        report: is told bytes that were read, by whichever thread read them.
    """

    report: Report
    _stopping: threading.Event = field(default_factory=threading.Event)

    def advance(self, size_bytes: int) -> None:
        """Called between blocks.

        Raises:
            StopError: the pass is over, for whatever reason.
        """
        if self._stopping.is_set():
            raise StopError
        self.report(size_bytes)

    def stop(self) -> None:
        self._stopping.set()


def one_of_several() -> None:
    """A thread of the pool shares nothing out again."""
    use_threads(1)


def over_tensors(
    tensors: Sequence[MergedTensor],
    work: Callable[[MergedTensor], T],
    workers: int,
    progress: Progress,
    prepare: Callable[[], None] = one_of_several,
) -> dict[int, T]:
    """Do ``work`` for every tensor, and return its results by the tensor's number. Each thread calls ``prepare`` first.

    The first error ends the pass and is raised when all threads have stopped; so does Ctrl-C.
    """
    largest_first = sorted(tensors, key=lambda tensor: (-tensor.size, tensor.number))
    with ThreadPoolExecutor(workers, "barnraise-merge", prepare) as pool:
        futures = {tensor.number: pool.submit(work, tensor) for tensor in largest_first}
        try:
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in futures.values()):
                progress.stop()
                for future in futures.values():
                    future.cancel()
    for future in done:
        future.result()
    return {number: future.result() for number, future in futures.items()}
