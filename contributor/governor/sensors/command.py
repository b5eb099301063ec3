"""Small programs of the system that are asked what they know, with a short time to answer."""

from __future__ import annotations

import subprocess

__all__ = ["answer_of"]

PATIENCE_S = 2.0


def answer_of(*command: str) -> str | None:
    """What a program prints; None if it is not there, fails, or takes longer than two seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
