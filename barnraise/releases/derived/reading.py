"""A derived model's tensors in the order in which they are written, decoded ahead on other threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future

from barnraise.native import threads
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.manifest import ModelRef
from barnraise.releases.model_files import Bytes

__all__ = ["read_ahead"]


def read_ahead(family: Family, ref: ModelRef, order: Iterable[str], pool: Executor) -> Callable[[str], Bytes]:
    """A function that gives each tensor of a model by its name, to be called in this order of names.

    Args:
        pool: where tensors are decoded; the caller's, who ends it when nobody fetches any more.

    While one tensor is written the next are decoded, no more of them at a time than there are
    threads. What cannot be read is raised when its turn comes.
    """
    ahead = threads()
    names = deque(order)
    waiting: deque[tuple[str, Future[Bytes]]] = deque()

    def fill() -> None:
        while names and len(waiting) <= ahead:
            name = names.popleft()
            waiting.append((name, pool.submit(family.read, ref, name)))

    def tensor(name: str) -> Bytes:
        fill()
        if not waiting or waiting[0][0] != name:  # not in that order after all
            return family.read(ref, name)
        _, future = waiting.popleft()
        fill()
        return future.result()

    return tensor
