"""How busy a GPU was, as its driver says it: told with every unit, and no reason to fail where it cannot be told."""

from __future__ import annotations

import pynvml
import pytest
import torch

from contributor.events import Finished
from contributor.training.busy import Busy

GPU = torch.device("cuda", 0)


def test_a_gpus_share_is_the_mean_of_what_its_driver_says_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([100, 80, 90])
    monkeypatch.setattr(torch.cuda, "utilization", lambda _device: next(said))
    busy = Busy(GPU, lambda: 0.0)
    for _ in range(3):
        busy.sample()
    assert (busy.what, busy.share()) == ("GPU", pytest.approx(0.9))


@pytest.mark.parametrize(
    "refusal",
    [
        pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED),
        pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST),
        RuntimeError("cuda driver can't be loaded"),
        ModuleNotFoundError("nvidia-ml-py does not seem to be installed"),
    ],
    ids=["a part of a card", "lost", "no driver", "no library"],
)
def test_a_driver_that_does_not_tell_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def utilization(_device: object) -> int:
        raise refusal

    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    busy = Busy(GPU, lambda: 0.0)
    busy.sample()
    assert busy.share() is None


def test_it_is_told_with_every_unit() -> None:
    told = Finished("b3:00", 1, "0.1.0", "text", 96, 1000, 24.0, 5.0, 4.0, "GPU", 0.9)
    assert told.line().endswith(", GPU 90% busy")
    assert told.as_json()["busy"] == 0.9
