"""The choice of a device: pure, with a reason, and never one that is not there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barnraise.errors import UsageError
from contributor.doctor.observe_machine import observe_machine, training_speed
from contributor.training.devices import Gpu, Seen, choose, look

GIB = 1 << 30
OLD, NEW = Gpu(0, "GTX 1080", 7 * GIB, 6), Gpu(1, "RTX 4090", 20 * GIB, 8)

gpus = st.lists(st.tuples(st.integers(0, 100 * GIB), st.integers(3, 12)), max_size=8).map(
    lambda found: tuple(Gpu(index, f"gpu {index}", free, major) for index, (free, major) in enumerate(found))
)


@given(gpus, st.booleans(), st.booleans())
def test_there_is_always_a_device_and_it_is_there(found: tuple[Gpu, ...], mps: bool, mps_bf16: bool) -> None:
    plan = choose(Seen(found, mps, mps_bf16))
    if found:
        (chosen,) = (gpu for gpu in found if plan.device == f"cuda:{gpu.index}")
        assert chosen.free_bytes == max(gpu.free_bytes for gpu in found)
        assert (plan.autocast is torch.bfloat16) == (chosen.capability >= 8)
    else:
        assert plan.device == ("mps" if mps else "cpu")
    assert plan.reason.startswith("training on ")


def test_reasons_have_names_and_numbers() -> None:
    assert choose(Seen()).reason == "training on the CPU: there is no GPU that PyTorch can use"
    assert choose(Seen((NEW,))).reason == "training on GPU 1, RTX 4090, 20.0 GiB free; bfloat16"
    assert choose(Seen((OLD,))).reason.endswith("float32, for a GPU of capability 6 has no bfloat16")


def test_what_is_asked_for_is_taken() -> None:
    seen = Seen((OLD, NEW), mps=True)
    assert [choose(seen, wanted).device for wanted in ("cpu", "mps", "cuda", "cuda:0")] == [
        "cpu",
        "mps",
        "cuda:1",
        "cuda:0",
    ]
    assert choose(seen, "cpu").autocast is None
    assert choose(seen, "cpu", cpu_bf16=True).autocast is torch.bfloat16


@pytest.mark.parametrize("wanted", ["cuda", "cuda:7", "mps", "tpu"])
def test_what_is_not_there_is_refused_with_what_is(wanted: str) -> None:
    with pytest.raises(UsageError, match=rf"--device {wanted} was asked for, this machine has cpu; choose one"):
        choose(Seen(), wanted)


def test_several_gpus_are_taken_in_the_order_of_their_numbers() -> None:
    other = Gpu(2, "RTX 4080", 10 * GIB, 8)
    plan = choose(Seen((OLD, NEW, other)), "all")
    assert (plan.device, plan.others, plan.autocast) == ("cuda:0", ("cuda:1", "cuda:2"), None)
    plan = choose(Seen((OLD, NEW, other)), "cuda:2,cuda:1")
    assert (plan.device, plan.others, plan.autocast) == ("cuda:1", ("cuda:2",), torch.bfloat16)
    assert plan.reason == ("training on 2 GPUs, 1 (RTX 4090), 2 (RTX 4080), each with a share of every batch; bfloat16")
    assert choose(Seen((NEW,)), "all") == choose(Seen((NEW,)))
    for wanted in ("cuda:1,cuda:7", "cuda:1,cpu", "cuda:1,", "all"):
        with pytest.raises(UsageError, match="was asked for, this machine has"):
            choose(Seen((NEW,)) if wanted != "all" else Seen(mps=True), wanted)


def saying(monkeypatch: pytest.MonkeyPatch, said: Callable[[str], Exception | None]) -> None:
    """A machine with two GPUs of CUDA. Each adds two numbers, or raises what is ``said`` of it."""

    def ones(_size: int, device: str) -> torch.Tensor:
        failure = said(device)
        if failure is not None:
            raise failure
        return torch.zeros(1)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda index: SimpleNamespace(name=("GTX 1080", "RTX 4090")[index], major=6)
    )
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _index: (7 * GIB, 8 * GIB))
    monkeypatch.setattr("torch.ones", ones)


NO_KERNEL = RuntimeError(
    "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might"
)


def test_a_gpu_that_pytorch_has_no_kernels_for_is_no_gpu_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, lambda device: NO_KERNEL if device == "cuda:0" else None)
    seen = look()
    assert [gpu.index for gpu in seen.gpus] == [1]
    why = "GPU 0, GTX 1080, cannot be used: CUDA error: no kernel image is available for execution on the device"
    assert seen.useless == (why,)
    assert choose(seen).device == "cuda:1"
    saying(monkeypatch, lambda _device: NO_KERNEL)
    plan = choose(look())
    assert (plan.device, why in plan.reason) == ("cpu", True)
    with pytest.raises(UsageError, match=r"this machine has cpu; .*no kernel image"):
        choose(look(), "cuda")


def test_a_gpu_whose_memory_a_game_has_is_there_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, lambda device: RuntimeError("CUDA error: out of memory") if device == "cuda:1" else NO_KERNEL)
    seen = look()
    assert [(gpu.index, gpu.free_bytes) for gpu in seen.gpus] == [(1, 0)]
    assert choose(seen).device == "cuda:1"


def test_the_doctor_blames_what_cuda_says_and_measures_nothing_where_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saying(monkeypatch, lambda _device: NO_KERNEL)
    facts = observe_machine({})
    assert not facts.cuda_works
    assert ["no kernel image" in said for said in facts.useless] == [True, True]
    saying(monkeypatch, lambda device: NO_KERNEL if device == "cuda:0" else None)
    facts = observe_machine({})
    assert (facts.cuda_works, facts.gpus) == (True, ("RTX 4090",))
    (useless,) = facts.useless
    assert useless.startswith("GPU 0, GTX 1080, cannot be used: CUDA error: no kernel image")
    saying(monkeypatch, lambda _device: RuntimeError("CUDA error: out of memory"))
    assert observe_machine({}).cuda_works
    monkeypatch.setattr("torch.ones", _taken)
    assert training_speed() is None


def _taken(*_size: int, **_where: object) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 32.00 MiB.")


def test_this_machine_has_a_plan() -> None:
    assert choose(look(), "cpu").device == "cpu"
