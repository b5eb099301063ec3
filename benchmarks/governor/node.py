"""A node: real steps of the byte model, held back by policies of a settings file.

It keeps to the loop of contributor/unit_runner.py: a step, then the pause that the policies wish. It says ``ready``;
after the line ``go`` it works until the next line, and prints what it got done. It ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch

from barnraise.clock import now_ms
from barnraise.config import TrainingConfig
from barnraise.model_config import ByteLMConfig
from contributor.governor.governor import Governor
from contributor.governor.look import Look
from contributor.governor.priority import rank
from contributor.governor.sensors import sensors_of
from contributor.governor.sensors.sensor import Reading
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of

BATCH = 4
ASK_AGAIN_S = 0.5


class Presence:
    """Stands for the sensor of keyboard and mouse: somebody is there while the job is busy."""

    name = "input"
    fields = ("input_idle_s",)
    every_s = 0.1

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> Reading:
        return Reading({"input_idle_s": max(0.0, time.time() - self._file.stat().st_mtime)})


def trainer() -> Trainer:
    model = ByteLMConfig()
    module = build(model)
    space = space_of(module)
    text = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
    training = TrainingConfig(steps=1_000_000, batch=BATCH)
    return Trainer(Unit(ByteLMTask(model, text), space, flat_of(module, space), training, seed=0), torch.device("cpu"))


def main() -> None:
    folder, presence = Path(sys.argv[1]), Path(sys.argv[2])
    os.nice(19)
    torch.set_num_threads(os.cpu_count() or 1)
    trains = trainer()
    trains.step()
    sensors = tuple(sensor for sensor in sensors_of(folder) if sensor.name != "input")
    look = Look((*sensors, Presence(presence)), now_ms, time.monotonic)
    governor = Governor(folder, look, lambda told: print(told, file=sys.stderr), rank)
    governor.training(ByteLMConfig().context)
    governor.wish()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            print(json.dumps(turn(trains, governor)), flush=True)
            governor.remember()


def turn(trains: Trainer, governor: Governor) -> dict[str, object]:
    """Work until the next line."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    began_s, steps, trained_s, reason = time.monotonic(), 0, 0.0, ""
    while not stop.is_set():
        wish = governor.wish()
        if not wish.work:
            stop.wait(min(wish.look_again_s, 0.5))
            continue
        start_s = time.monotonic()
        trains.step()
        took_s = time.monotonic() - start_s
        steps, trained_s = steps + 1, trained_s + took_s
        governor.stepped(took_s, BATCH)
        wish = governor.wish()
        reason = wish.reason
        paused_s = 0.0
        while (left_s := took_s * (1 / governor.wish().duty - 1) - paused_s) > 0 and not stop.is_set():
            stop.wait(min(left_s, ASK_AGAIN_S))
            paused_s += min(left_s, ASK_AGAIN_S)
    return {"steps": steps, "trained_s": trained_s, "wall_s": time.monotonic() - began_s, "reason": reason}


if __name__ == "__main__":
    main()
