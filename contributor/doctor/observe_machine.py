"""Look at this machine. Nothing here decides; what cannot be found out is left open with the reason."""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import barnraise
from barnraise.errors import NameClashError
from barnraise.installation import missing_of, require_ours
from contributor.doctor.machine import Card, FolderFacts, MachineFacts

__all__ = ["observe_folder", "observe_machine", "training_speed"]


def observe_machine(folders: dict[str, Path]) -> MachineFacts:
    """Everything about this machine.

    Args:
        folders: name -> a folder that a node writes to, which need not exist yet.
    """
    torch, torch_error = _torch()
    cards, unknown = _cards()
    total, free = _memory()
    gpus, useless, cuda_error = _cuda(torch)
    return MachineFacts(
        python=sys.version_info[:3],
        barnraise=barnraise.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        missing=missing_of("contributor"),
        overwritten=_overwritten(),
        torch_version=str(torch.__version__) if torch is not None else None,
        torch_error=torch_error,
        torch_cuda=_version(torch.version.cuda) if torch is not None else None,
        cuda_error=cuda_error,
        gpus=gpus,
        useless=useless,
        mps_works=torch is not None and bool(torch.backends.mps.is_available()),
        cards=cards,
        cards_unknown=unknown,
        cores=os.cpu_count() or 1,
        memory_bytes=total,
        free_bytes=free,
        folders={name: observe_folder(path) for name, path in folders.items()},
    )


def observe_folder(path: Path) -> FolderFacts:
    """Room in a folder, or where it would be made, and whether a small file can be written there; it is removed."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    number = 0
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as failed:
        number = failed.errno or errno.EIO
    found = os.statvfs(there)
    return FolderFacts(path, found.f_bavail * found.f_frsize, number)


def training_speed() -> float | None:
    """Arithmetic operations a second that this machine does in products of matrices.

    A tenth of a second or so; on a card in the type that training uses there. None without PyTorch, and where the
    memory of the card is taken.
    """
    torch, _ = _torch()
    if torch is None:
        return None
    from contributor.training.devices import choose, look
    from contributor.training.memory import is_out_of_memory

    try:
        seen = look()
        return _products_per_s(torch, choose(seen).device if seen.gpus else "cpu")
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise


def _products_per_s(torch: Any, device: str) -> float:
    import time

    on_card = device != "cpu"
    size, kind = (4096, torch.bfloat16) if on_card else (768, torch.float32)
    matrix = torch.ones(size, size, dtype=kind, device=device)
    for warm_up in (True, False):
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < (0.05 if warm_up else 0.15):
            matrix @ matrix
            if on_card:
                torch.cuda.synchronize(device)
            done += 1
    return float(2 * size**3 * done / (time.perf_counter() - began))


def _torch() -> tuple[Any, str]:
    """PyTorch, or None and what importing it said; "" when it is not installed."""
    try:
        import torch
    except ModuleNotFoundError as error:
        return None, "" if error.name == "torch" else str(error)
    except (ImportError, OSError, RuntimeError) as error:
        return None, " ".join(str(error).split())[:400]
    return torch, ""


def _cuda(torch: Any) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Names of the cards that PyTorch can use, what is said of each other one, and its warning where it shows none."""
    if torch is None:
        return (), (), ""
    from contributor.training.devices import look

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        seen = look()
    warned = "" if seen.gpus or not said else " ".join(str(said[0].message).split())[:300]
    return tuple(gpu.name for gpu in seen.gpus), seen.useless, warned


def _cards() -> tuple[tuple[Card, ...], str]:
    """The cards that NVIDIA's driver shows, or why nobody can say."""
    try:
        import pynvml
    except ImportError:
        return (), "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), str(error)
    try:
        driver, serves = str(pynvml.nvmlSystemGetDriverVersion()), int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return tuple(_card(pynvml, handle, driver, serves) for handle in handles), ""
    except pynvml.NVMLError as error:
        return (), str(error)
    finally:
        pynvml.nvmlShutdown()


def _card(pynvml: Any, handle: Any, driver: str, serves: int) -> Card:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    name = str(pynvml.nvmlDeviceGetName(handle))
    return Card(name, int(memory.total), int(memory.free), driver, (serves // 1000, serves % 1000 // 10))


def _memory() -> tuple[int | None, int | None]:
    try:
        import psutil
    except ImportError:
        return None, None
    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def _overwritten() -> str:
    try:
        require_ours()
    except NameClashError as error:
        return str(error)
    return ""


def _version(text: str | None) -> tuple[int, int] | None:
    """The first two numbers of a version."""
    parts = (text or "").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and all(part.isdecimal() for part in parts[:2]) else None
