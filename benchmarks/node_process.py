"""A node that is measured beside an owner's program: a process in a session of its own, as from another terminal.

Linux divides processors among sessions before it looks at any rank (autogroup). One line goes each way: the node says
that it is ready, is told something, and answers with JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["NodeProcess", "started"]


class NodeProcess:
    """A node that is running and ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._line()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What it says next; waits for that."""
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the node's process ended; see its message above")
        return line


@contextmanager
def started(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Iterator[NodeProcess]:
    """A node that Python starts with these arguments, and that ends with the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=dict(environ),
    )
    try:
        yield NodeProcess(process)
    finally:
        process.communicate()
