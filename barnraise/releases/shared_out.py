"""Work on many tensors, shared out among the threads of a pool that outlives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from contextvars import copy_context
from typing import TypeVar

from barnraise.native import use_threads

__all__ = ["share_out"]

Job = TypeVar("Job")
Result = TypeVar("Result")


def share_out(work: Callable[[Job], Result], jobs: Sequence[Job], pool: Executor | None) -> list[Result]:
    """``work`` on every job, in the order of the jobs, one thread each; what came of them, in that order.

    After the first error it is raised at once, and jobs that have not begun never do. Those that
    have may go on until the pool ends: one may wait for bytes that are on their way from far, and
    whoever sees to these has to hear of the error first. So a job uses nothing that is taken away
    before the pool has ended.

    Args:
        pool: None: all of it in this thread.
    """
    if pool is None:
        return [work(job) for job in jobs]

    failures: list[BaseException] = []

    def alone(job: Job) -> Result:
        if failures:  # this one was taken before it could be cancelled, and may be looked at before the one that failed
            raise failures[0]
        use_threads(1)
        try:
            return work(job)
        except BaseException as error:
            failures.append(error)
            raise

    futures = [pool.submit(copy_context().run, alone, job) for job in jobs]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
