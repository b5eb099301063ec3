"""When memory does not suffice: how that shows on each kind of device, how to let go of some, how much is left.

PyTorch says it with several exceptions. A GPU's allocator raises ``torch.OutOfMemoryError``; that of the CPU raises
a plain RuntimeError, with one text on Linux and another on Windows, and so does that of Apple's GPUs; C++ code that
asks for memory itself ends as a MemoryError; a file that cannot be mapped is an OSError. Linux promises more memory
than there is, so without a limit on the address space or a control group a CPU's process is killed instead, and nothing
can be caught.
"""

from __future__ import annotations

import errno
import gc
import re

import torch

__all__ = ["asked_bytes", "free_bytes", "is_out_of_memory", "let_go"]

_TEXTS = (
    "can't allocate memory",  # CPU, Linux and macOS
    "not enough memory",  # CPU, Windows
    "out of memory",  # CUDA and MPS
    "could not create a primitive",  # oneDNN on the CPU, which gives no other reason
    "failed to allocate",  # libraries of CUDA
    "alloc_failed",  # cuBLAS, cuDNN
)
_UNITS = {"bytes": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(text in said for text in _TEXTS)


def asked_bytes(error: BaseException) -> int | None:
    """How much was asked for at once, as the exception says it; None when it does not."""
    found = re.search(r"tried to allocate ([\d.,]+) ?(bytes|[kmg]i?b)", str(error), re.IGNORECASE)
    if found is None:
        return None
    return round(float(found[1].replace(",", "")) * _UNITS[found[2].lower()])


def let_go(device: torch.device) -> None:
    """Give back what is kept for later: garbage, and what the device's allocator holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_bytes(device: torch.device) -> int | None:
    """Memory that could still be had; None where nothing says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return _free_on_the_machine()


def _free_on_the_machine() -> int | None:
    """Of the machine, and of this process where its address space is limited."""
    try:
        import psutil
    except ImportError:
        return None
    free = int(psutil.virtual_memory().available)
    try:
        import resource
    except ImportError:  # Windows
        return free
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return free
    return max(0, min(free, limit - int(psutil.Process().memory_info().vms)))
