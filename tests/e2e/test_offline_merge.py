"""`barnraise merge` as a process: stopped in the middle it leaves nothing, killed it leaves nothing for long."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

ROWS, WIDTH, TENSORS = 1024, 1024, 32  # 128 MiB a model: long enough to be met in the middle


@pytest.fixture
def models(tmp_path: Path) -> Path:
    draws = np.random.default_rng(0)
    for name in ("base", "a", "b"):
        (tmp_path / name).mkdir()
        tensors = {f"t{n}": draws.standard_normal((ROWS, WIDTH), dtype=np.float32) for n in range(TENSORS)}
        save_file(tensors, tmp_path / name / "model.safetensors")
    return tmp_path


def started(folder: Path) -> subprocess.Popen[str]:
    """A merge that has begun to write."""
    command = [sys.executable, "-m", "barnraise", "merge", "--strategy", "ties", "base", "a", "b", "--into", "out"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / ".out.merge" / "model" / "model.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_ctrl_c_and_kill(models: Path) -> None:
    stopped = started(models)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 130
    assert "barnraise: stopped" in err
    assert "Traceback" not in err
    assert out.startswith("ties of 2 models")
    assert sorted(path.name for path in models.iterdir()) == ["a", "b", "base"]

    killed = started(models)
    killed.kill()
    killed.communicate(timeout=120)
    assert (models / ".out.merge").exists()
    whole = started(models)
    assert whole.wait(timeout=120) == 0
    whole.communicate()
    assert sorted(path.name for path in models.iterdir()) == ["a", "b", "base", "out"]
    assert len(load_file(models / "out" / "model.safetensors")) == TENSORS
