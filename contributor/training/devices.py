"""Which device trains, and in what precision: a pure choice from what was seen, with a reason.

    wanted   auto                 the GPU with the most free memory, else Apple's, else the CPU
             cpu, mps, cuda, cuda:1   that one, or an error that names what there is
             all, or cuda:0,cuda:1    these GPUs, each with a share of every batch; the step is taken on the first

Forward passes run in bfloat16 where the device computes it in hardware: half the memory for activations, and on GPUs
several times the speed. Parameters, gradients and optimiser stay float32. On CPUs bfloat16 is for whoever asks,
because only some are faster with it and all get other bits.

A GPU that CUDA shows need not compute: PyTorch may be built without kernels for one so old or so new, or something
else has it for itself. So each is tried with one addition before it counts. One whose memory is taken at the moment
does count: a node waits for memory.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

from barnraise.errors import UsageError
from contributor.training.memory import is_out_of_memory

__all__ = ["Gpu", "Plan", "Seen", "choose", "look"]

BF16_SINCE = 8  # compute capability of the first NVIDIA GPUs with bfloat16 arithmetic


@dataclass(frozen=True, slots=True)
class Gpu:
    """One that CUDA shows. ``index`` is CUDA's; ``capability`` its major version."""

    index: int
    name: str
    free_bytes: int
    capability: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What this machine has. ``mps``: Apple's GPU can be used. ``mps_bf16``: its system computes bfloat16.

    ``useless``: GPUs that CUDA shows and that compute nothing, each in words with what CUDA said.
    """

    gpus: tuple[Gpu, ...] = ()
    mps: bool = False
    mps_bf16: bool = False
    useless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """``device`` and ``others`` as torch names them, ``autocast`` as :class:`contributor.training.how.How` has it."""

    device: str
    autocast: torch.dtype | None
    reason: str
    others: tuple[str, ...] = ()


def choose(seen: Seen, wanted: str = "auto", *, cpu_bf16: bool = False) -> Plan:
    """The device for one unit at a time, or several for one unit.

    Args:
        wanted: ``auto``, ``cpu``, ``mps``, ``cuda``, one GPU as ``cuda:1``, several with commas, or ``all`` GPUs.
        cpu_bf16: use bfloat16 on a CPU too.

    Raises:
        UsageError: it is not there.
    """
    if wanted == "cpu" or (wanted == "auto" and not seen.gpus and not seen.mps):
        why = "as asked" if wanted == "cpu" else "; ".join(seen.useless) or "there is no GPU that PyTorch can use"
        return Plan("cpu", torch.bfloat16 if cpu_bf16 else None, f"training on the CPU: {why}")
    if wanted == "mps" or (wanted == "auto" and not seen.gpus):
        if not seen.mps:
            raise UsageError(_not_there(wanted, seen))
        exact = None if not seen.mps_bf16 else torch.bfloat16
        return Plan("mps", exact, f"training on Apple's GPU in {'bfloat16' if exact else 'float32'}")
    if wanted == "all" or "," in wanted:
        return _on_several(seen, wanted)
    among = [gpu for gpu in seen.gpus if wanted in {"auto", "cuda", f"cuda:{gpu.index}"}]
    if not among:
        raise UsageError(_not_there(wanted, seen))
    return _on(max(among, key=lambda gpu: (gpu.free_bytes, -gpu.index)), len(seen.gpus))


def _on(gpu: Gpu, of: int) -> Plan:
    exact = torch.bfloat16 if gpu.capability >= BF16_SINCE else None
    which = "" if of == 1 else f", the one of {of} with the most free memory that was asked for"
    precision = "bfloat16" if exact else f"float32, for a GPU of capability {gpu.capability} has no bfloat16"
    free = gpu.free_bytes / (1 << 30)
    return Plan(
        f"cuda:{gpu.index}", exact, f"training on GPU {gpu.index}, {gpu.name}, {free:.1f} GiB free{which}; {precision}"
    )


def _on_several(seen: Seen, wanted: str) -> Plan:
    """Every GPU, or those that are named, in the order of their numbers."""
    names = {f"cuda:{gpu.index}" for gpu in seen.gpus} if wanted == "all" else set(wanted.split(","))
    gpus = [gpu for gpu in seen.gpus if f"cuda:{gpu.index}" in names]
    if not gpus or len(gpus) != len(names):
        raise UsageError(_not_there(wanted, seen))
    if len(gpus) == 1:
        return _on(gpus[0], len(seen.gpus))
    exact = torch.bfloat16 if all(gpu.capability >= BF16_SINCE for gpu in gpus) else None
    precision = "bfloat16" if exact else "float32"
    shown = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
    return Plan(
        f"cuda:{gpus[0].index}",
        exact,
        f"training on {len(gpus)} GPUs, {shown}, each with a share of every batch; {precision}",
        tuple(f"cuda:{gpu.index}" for gpu in gpus[1:]),
    )


def _not_there(wanted: str, seen: Seen) -> str:
    have = ["cpu", *(["mps"] if seen.mps else []), *(f"cuda:{gpu.index} ({gpu.name})" for gpu in seen.gpus)]
    not_these = "".join(f". {why}" for why in seen.useless)
    return (
        f"--device {wanted} was asked for, this machine has {', '.join(have)}; choose one of these, or auto{not_these}"
    )


def look() -> Seen:
    """What PyTorch can use here."""
    gpus, useless = [], []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found = _tried(index)
        if isinstance(found, Gpu):
            gpus.append(found)
        else:
            useless.append(found)
    mps = torch.backends.mps.is_available()
    system = platform.mac_ver()[0].partition(".")[0]
    return Seen(tuple(gpus), mps, mps and system.isdigit() and int(system) >= 14, tuple(useless))


def _tried(index: int) -> Gpu | str:
    """The GPU, after it has added two numbers; or why it cannot."""
    name = f"GPU {index}"
    try:
        properties = torch.cuda.get_device_properties(index)
        name = f"{name}, {properties.name},"
        try:
            torch.ones(1, device=f"cuda:{index}").add_(1).item()
            free_bytes = int(torch.cuda.mem_get_info(index)[0])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            free_bytes = 0
        return Gpu(index, properties.name, free_bytes, properties.major)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch itself was not built for it
        return f"{name} cannot be used: {str(error).partition(chr(10))[0][:200]}"
