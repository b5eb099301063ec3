"""Hold a task to the memory that it said it needs, so that it fails alone."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from barnraise.errors import AcceptanceError

__all__ = ["memory_limit"]


@contextmanager
def memory_limit(memory_mb: int | None, what: str) -> Iterator[None]:
    """Let this process take so much more memory, and no more, while the block runs.

    The limit is on address space, the one that Linux enforces; what libraries reserve and never touch counts too.

    Args:
        memory_mb: None sets no limit. what: is told in the error.

    Raises:
        AcceptanceError: the block asked for more.
    """
    if memory_mb is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + (memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most if before[1] == -1 else min(most, before[1]), before[1]))
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):  # torch has no error of its own for it
            raise
        raise AcceptanceError(f"{what} asked for more than {memory_mb:,} MB of memory") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
