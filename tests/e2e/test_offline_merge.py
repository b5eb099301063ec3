"""`barnraise merge` as a process: stopped in the middle it leaves nothing, killed it leaves nothing for long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

ROWS, WIDTH, TENSORS = 256, 1024, 32

# The command, which gets a signal when it writes the fifth tensor, and writes no further before that has arrived.
STRUCK = """
import os, signal, threading
from barnraise.checkpoints.write import CheckpointWriter
from barnraise.cli import main

put, written, arrived = CheckpointWriter.put, [], threading.Event()

def interrupt(number, frame):
    arrived.set()
    signal.default_int_handler(number, frame)

def struck(self, name, start, data):
    put(self, name, start, data)
    written.append(name)
    if len(written) == 5:
        os.kill(os.getpid(), int(os.environ["STRUCK_BY"]))
    if len(written) >= 5:
        arrived.wait()

signal.signal(signal.SIGINT, interrupt)
CheckpointWriter.put = struck
main()
"""
ARGUMENTS = ["merge", "--strategy", "ties", "base", "a", "b", "--into", "out"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    draws = np.random.default_rng(0)
    for name in ("base", "a", "b"):
        (tmp_path / name).mkdir()
        tensors = {f"t{n}": draws.standard_normal((ROWS, WIDTH), dtype=np.float32) for n in range(TENSORS)}
        save_file(tensors, tmp_path / name / "model.safetensors")
    return tmp_path


def struck_by(what: signal.Signals, folder: Path) -> subprocess.CompletedProcess[str]:
    """A merge that gets a signal in the middle."""
    command = [sys.executable, "-c", STRUCK, *ARGUMENTS]
    environment = {**os.environ, "STRUCK_BY": str(int(what))}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_ctrl_c_and_kill(models: Path) -> None:
    stopped = struck_by(signal.SIGINT, models)
    assert stopped.returncode == 130, stopped
    assert "barnraise: stopped" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.stdout.startswith("ties of 2 models")
    assert sorted(path.name for path in models.iterdir()) == ["a", "b", "base"]

    killed = struck_by(signal.SIGKILL, models)
    assert killed.returncode == -signal.SIGKILL
    assert (models / ".out.merge").exists()
    whole = subprocess.run(
        [sys.executable, "-m", "barnraise", *ARGUMENTS], cwd=models, capture_output=True, timeout=120, check=False
    )
    assert whole.returncode == 0, whole
    assert sorted(path.name for path in models.iterdir()) == ["a", "b", "base", "out"]
    assert len(load_file(models / "out" / "model.safetensors")) == TENSORS
