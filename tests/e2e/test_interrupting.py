"""SIGTERM ends a command as Ctrl-C does, also where Ctrl-C was switched off for it."""

from __future__ import annotations

import subprocess
import sys

WAITS = """
import signal, sys
from barnraise.process import interrupt_on_sigterm
signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupt_on_sigterm()
try:
    print("ready", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("stops what it has started")
"""


def test_sigterm_interrupts() -> None:
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "stops what it has started\n"
        assert process.wait(timeout=60) == 0
