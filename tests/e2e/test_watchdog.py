"""A process that hangs is ended, and its log says where it hung."""

from __future__ import annotations

import subprocess
import sys

HANGS = """
import sys
from coordinator.conductor import watchdog
watchdog.promise({seconds})
{then}
sys.stdin.read()
"""


def ends(seconds: float, then: str, said: str | None) -> tuple[int, str]:
    """Exit code and last words of a process that reads its standard input, which says ``said`` or stays silent."""
    command = [sys.executable, "-c", HANGS.format(seconds=seconds, then=then)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        if said is not None:
            process.stdin.write(said)
            process.stdin.close()
        return process.wait(timeout=60), process.stderr.read()


def test_a_promise_that_is_broken_ends_the_process_with_its_stack() -> None:
    code, words = ends(0.2, "", None)
    assert code == 1
    assert "Timeout" in words
    assert 'File "<string>"' in words


def test_a_promise_that_is_kept_or_released_does_nothing() -> None:
    assert ends(60, "", "done") == (0, "")
    assert ends(0.2, "watchdog.release()", "done") == (0, "")
