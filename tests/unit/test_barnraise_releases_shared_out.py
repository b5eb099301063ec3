"""Work that is shared out: everything once, in order, on one thread each, and nothing begins after an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from barnraise import native
from barnraise.releases.shared_out import share_out


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    if not workers:
        assert share_out(lambda job: job * job, range(50), None) == [job * job for job in range(50)]
        return
    with ThreadPoolExecutor(workers) as pool:
        assert share_out(lambda job: job * job, range(50), pool) == [job * job for job in range(50)]


def test_a_job_has_one_thread_and_what_its_caller_had_chosen() -> None:
    def seen(_: int) -> tuple[int, bool]:
        return native.threads(), native.available()

    with ThreadPoolExecutor(2) as pool:
        before = native.threads()
        with native.disabled():
            assert share_out(seen, range(4), pool) == [(1, False)] * 4
        assert native.threads() == before
        assert pool.submit(native.threads).result() == before  # the pool's threads are as they were


def test_after_an_error_nothing_begins_and_nobody_waits() -> None:
    """Jobs that hang do not hold the error up; they are waited for where the pool ends."""
    hangs, begun = threading.Event(), []

    def work(job: int) -> None:
        begun.append(job)
        if job == 1:
            raise ValueError("the second one")
        assert hangs.wait(60)

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ValueError, match="the second one"):
            share_out(work, range(500), pool)
        hangs.set()
    assert begun.count(1) == 1
    assert set(begun) <= {0, 1}


class Late(Executor):
    """Runs jobs at once; that the first one failed is known only after the others."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except ValueError as error:
            if "told" in error.args:
                future.set_exception(error)
            error.args = ("told",)
        return future


def test_the_error_that_is_raised_is_the_one_that_came_first() -> None:
    def work(job: int) -> int:
        if job == 1:
            raise ValueError("the second one")
        return job

    with pytest.raises(ValueError, match="told"):
        share_out(work, range(4), Late())
