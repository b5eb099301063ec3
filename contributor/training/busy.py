"""How busy training keeps the device: a GPU as its driver says it, CPUs as the share of all cores that went into it."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import torch

__all__ = ["Busy"]


class Busy:
    """Watches from when it is made until it is asked.

    Attributes:
        what: is meant: ``GPU`` or ``CPU``.
    """

    def __init__(self, device: torch.device, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.what = "GPU" if device.type == "cuda" else "CPU"
        self._device = device
        self._clock_s = clock_s
        self._samples: list[float] = []
        self._began_s, self._used_s = clock_s(), _cpu_s()

    def sample(self) -> None:
        """Look at the GPU, at the end of a step; of CPUs the system keeps count itself."""
        if self._device.type == "cuda":
            share = _gpu_share(self._device)
            if share is None:
                self._samples.clear()
            else:
                self._samples.append(share)

    def share(self) -> float | None:
        """In [0, 1], since the beginning; None where nothing tells."""
        if self._device.type == "cuda":
            return sum(self._samples) / len(self._samples) if self._samples else None
        if self._device.type != "cpu":
            return None
        wall_s = self._clock_s() - self._began_s
        cores = psutil.cpu_count() or 1
        return min(1.0, (_cpu_s() - self._used_s) / (wall_s * cores)) if wall_s > 0 else None


def _gpu_share(device: torch.device) -> float | None:
    """As nvidia-smi has it; None where nobody tells: no nvidia-ml-py, no driver, or a part of a card (MIG)."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        return float(torch.cuda.utilization(device)) / 100
    except (RuntimeError, ModuleNotFoundError, pynvml.NVMLError):
        return None


def _cpu_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)
