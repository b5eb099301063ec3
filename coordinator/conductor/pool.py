"""Where tasks run: on Ray, or inline. The conductor does not know which.

A task is a module-level function with plain arguments that is a pure function of digests, so
it may be run again after any failure. An inline pool makes a whole run a deterministic,
single-process simulation.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from barnraise.errors import AcceptanceError, BarnraiseError, MergeError, RayLostError
from coordinator.acceptance.kinds.rule import Failure

__all__ = ["InlinePool", "Outcome", "Pool", "RayPool", "Task"]

VITAL = frozenset({"raylet", "gcs_server"})


@dataclass(frozen=True)
class Task:
    """A call to make elsewhere.

    Attributes:
        function: module-level function. timeout_s: it is cancelled after this long.
        cpus, gpus: what it needs of a node. memory_mb: what a node must have left for it.
        fails_alone: when it crashes, hangs or is lost, that is its value, a :class:`Failure`, and not its action's.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    timeout_s: float
    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: int | None = None
    fails_alone: bool = False

    def outcome(self, ticket: int, error: BarnraiseError) -> Outcome:
        """What is said when this task did not come to its end."""
        if self.fails_alone:
            return Outcome(ticket, value=Failure(error.reason))
        return Outcome(ticket, error=error)


@dataclass(frozen=True)
class Outcome:
    """What became of a task: ``value``, or ``error`` when it failed."""

    ticket: int
    value: Any = None
    error: Exception | None = None


class Pool(Protocol):
    def submit(self, task: Task) -> int:
        """Start a task; the ticket names it in its outcome."""
        ...

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that are there, or become there within ``timeout_s``."""
        ...


class InlinePool:
    """Runs each task when its outcome is waited for, in order, in this process."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, Task]] = deque()
        self._next = 0

    def submit(self, task: Task) -> int:
        self._next += 1
        self._queue.append((self._next, task))
        return self._next

    def wait(self, timeout_s: float) -> list[Outcome]:
        if not self._queue:
            return []
        ticket, task = self._queue.popleft()
        try:
            return [Outcome(ticket, value=task.function(*task.arguments))]
        except BarnraiseError as error:
            return [Outcome(ticket, error=error)]


class RayPool:
    """Runs tasks on the Ray that this process has started.

    Ray runs a task again when its worker dies. When Ray itself dies, a driver hears nothing for
    minutes and then takes its tasks for failed, so this pool looks after Ray's processes itself.

    Args:
        beat: called whenever outcomes are asked for, with how many tasks Ray has and how many wait for room here.
    """

    def __init__(self, max_retries: int = 2, beat: Callable[[int, int], None] = lambda _running, _held: None) -> None:
        import ray

        self._ray: Any = ray
        self._beat = beat
        self._vital = [child for child in psutil.Process().children() if child.name() in VITAL]
        self._max_retries = max_retries
        self._remote: dict[Callable[..., Any], Any] = {}
        self._running: dict[Any, tuple[int, float, Task]] = {}
        self._held: deque[tuple[int, Task]] = deque()  # until there is room, for their time counts from their start
        self._next = 0

    def submit(self, task: Task) -> int:
        self._next += 1
        if task.fails_alone:
            self._held.append((self._next, task))
        else:
            self._start(self._next, task)
        return self._next

    def _start(self, ticket: int, task: Task) -> None:
        remote = self._remote.get(task.function)
        if remote is None:  # made once: each one that is made is shipped to every worker
            remote = self._ray.remote(max_retries=self._max_retries)(task.function)
            self._remote[task.function] = remote
        needs: dict[str, float] = {"num_cpus": task.cpus}
        needs |= {"num_gpus": task.gpus} if task.gpus else {}
        needs |= {"memory": task.memory_mb << 20} if task.memory_mb else {}
        deadline_s = time.monotonic() + task.timeout_s
        self._running[remote.options(**needs).remote(*task.arguments)] = (ticket, deadline_s, task)

    def _start_held(self) -> None:
        """Start what was held back and has room now; one at least, so that Ray can say what it lacks."""
        resources: dict[str, float] = self._ray.cluster_resources()
        room = resources.get("CPU", 1.0)
        while self._held:
            taken = sum(task.cpus for _, _, task in self._running.values())
            if self._running and taken + self._held[0][1].cpus > room:
                return
            self._start(*self._held.popleft())

    def wait(self, timeout_s: float) -> list[Outcome]:
        """As the protocol says.

        Raises:
            RayLostError: no task can end any more.
        """
        self._beat(len(self._running), len(self._held))
        self._require_ray()
        if self._held:
            self._start_held()
        if not self._running:
            time.sleep(timeout_s)
            return []
        refs = list(self._running)
        done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        if not done:
            done, _ = self._ray.wait(refs, num_returns=1, timeout=timeout_s)
        self._require_ray()
        return [self._outcome(ref) for ref in done] + self._expired()

    def _outcome(self, ref: Any) -> Outcome:
        ticket, _, task = self._running.pop(ref)
        try:
            return Outcome(ticket, value=self._ray.get(ref))
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, BarnraiseError):
                return Outcome(ticket, error=cause)
            return task.outcome(ticket, MergeError(f"{task.function.__name__} failed: {cause!r}"))
        except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.OutOfMemoryError) as error:
            reason = f"{task.function.__name__} lost its worker {self._max_retries + 1} times: {_first_line(error)}"
            return task.outcome(ticket, AcceptanceError(reason))
        except self._ray.exceptions.RayError as error:  # what was lost is Ray's, and says nothing about the task
            raise RayLostError(f"Ray lost {task.function.__name__}: {_first_line(error)}") from error

    def _require_ray(self) -> None:
        for process in self._vital:
            if not _lives(process):
                raise RayLostError(f"a vital process of Ray ({process.pid}) has ended; its tasks will run on a new Ray")

    def _expired(self) -> list[Outcome]:
        now = time.monotonic()
        late = [ref for ref, (_, deadline, _) in self._running.items() if now > deadline]
        outcomes = []
        for ref in late:
            ticket, _, task = self._running.pop(ref)
            self._ray.cancel(ref, force=True)
            reason = f"{task.function.__name__} took longer than {task.timeout_s:.0f} s and was cancelled"
            outcomes.append(task.outcome(ticket, AcceptanceError(reason)))
        return outcomes


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
