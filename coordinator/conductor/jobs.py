"""The actions that are under way: each a generator, and the tasks of its current batch on the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from barnraise.errors import BarnraiseError
from coordinator.conductor.actions import Finished, Work
from coordinator.conductor.pool import Outcome, Pool, Task

__all__ = ["Jobs"]


@dataclass
class _Job:
    """A running action: its generator, and the outcomes of its current batch so far."""

    purpose: str
    work: Work
    tickets: list[int]
    outcomes: dict[int, Outcome]


class Jobs:
    """Actions under way.

    Args:
        finish: is given what each action led to.
    """

    def __init__(self, pool: Pool, finish: Callable[[Finished], None]) -> None:
        self._pool = pool
        self._finish = finish
        self._jobs: list[_Job] = []

    def __bool__(self) -> bool:
        """Whether any is under way."""
        return bool(self._jobs)

    @property
    def purposes(self) -> list[str]:
        """What for, of all those that outlive the round, such as an order's id."""
        return [job.purpose for job in self._jobs if job.purpose]

    def start(self, work: Work, purpose: str = "") -> None:
        """Begin an action.

        Args:
            purpose: of one that outlives the round; "" of one that goes with it.
        """
        job = _Job(purpose, work, [], {})
        self._jobs.append(job)
        self._resume(job, lambda: next(work))

    def advance(self, wait_s: float) -> None:
        """Wait for tasks, and let the actions whose batch has ended go on.

        Raises:
            BarnraiseError: an action could not go on; it is under way no more.
        """
        for outcome in self._pool.wait(wait_s):
            for job in list(self._jobs):
                if outcome.ticket in job.tickets:
                    job.outcomes[outcome.ticket] = outcome
                    if len(job.outcomes) == len(job.tickets):
                        self._continue(job)

    def let_go(self) -> None:
        """Forget the actions that go with the round; outcomes of their tasks concern nobody any more."""
        self._jobs = [job for job in self._jobs if job.purpose]

    def _continue(self, job: _Job) -> None:
        """Hand a finished batch to its generator: the values, or the first error among them."""
        outcomes = [job.outcomes[ticket] for ticket in job.tickets]
        error = next((outcome.error for outcome in outcomes if outcome.error is not None), None)
        if error is not None:
            self._resume(job, lambda: job.work.throw(error))
        else:
            self._resume(job, lambda: job.work.send([outcome.value for outcome in outcomes]))

    def _resume(self, job: _Job, go_on: Callable[[], list[Task]]) -> None:
        try:
            batch = go_on()
        except StopIteration as stopped:
            self._jobs.remove(job)
            self._finish(stopped.value)
            return
        except BarnraiseError:
            self._jobs.remove(job)
            raise
        job.tickets, job.outcomes = [self._pool.submit(task) for task in batch], {}
