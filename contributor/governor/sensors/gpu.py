"""Graphics cards, as NVIDIA's driver describes them. Cards of others are not seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from contributor.governor.observation import Gpu
from contributor.governor.sensors.sensor import Reading, nothing

__all__ = ["GpuSensor"]


class GpuSensor:
    """Temperature, draw and memory of every card."""

    name: ClassVar[str] = "gpu"
    fields: ClassVar[tuple[str, ...]] = ("gpus",)
    every_s: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self._nvml: Any = None
        self._reason = ""

    def read(self) -> Reading:
        if self._nvml is None and not self._reason:
            self._nvml, self._reason = _open_nvml()
        if self._nvml is None:
            return nothing(self.fields, self._reason)
        try:
            count = self._nvml.nvmlDeviceGetCount()
            return Reading({"gpus": tuple(_card(self._nvml, index) for index in range(count))})
        except self._nvml.NVMLError as error:
            return nothing(self.fields, f"NVIDIA's driver answers: {error}")


def _open_nvml() -> tuple[Any, str]:
    """The library, ready to be asked, or None and why not."""
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed (pip install nvidia-ml-py)"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"no NVIDIA driver answers: {error}"
    return pynvml, ""


def _card(nvml: Any, index: int) -> Gpu:
    card = nvml.nvmlDeviceGetHandleByIndex(index)

    def ask(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except nvml.NVMLError:  # a card need not have a thermometer, nor tell of processes
            return None

    name = nvml.nvmlDeviceGetName(card)
    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(card))
    milliwatts = ask(lambda: nvml.nvmlDeviceGetPowerUsage(card))
    rates = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(card))
    processes = ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(card)) or ()
    ours = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    return Gpu(
        index=index,
        name=name.decode() if isinstance(name, bytes) else name,
        celsius=ask(lambda: float(nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))),
        watts=None if milliwatts is None else milliwatts / 1000,
        used_bytes=None if memory is None else int(memory.used),
        total_bytes=None if memory is None else int(memory.total),
        ours_bytes=ours[0] if ours else None,
        busy_share=None if rates is None else rates.gpu / 100,
    )
