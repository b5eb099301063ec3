"""Does a Fisher beside every update help, and is it worth its bytes?

    python benchmarks/fisher.py [--rounds N] [CODEC,RULE,OUTER_LR,SEED ...]

Eight contributors, each with a domain of its own, on the small model of benchmarks/convergence:
every arm at equal training tokens, plain outer steps without momentum, error feedback on, patches
uncompressed. One JSON line an arm: final bits per byte, the curve, and the bytes sent. Rules:

    mean     the mean of the updates; what an update does not name counts as 0
    named    at each element the mean of the updates that name it, which needs no Fisher
    fisher   the strategy ``fisher``, with Fishers from the file
    exact    the strategy ``fisher``, with the second moments themselves

``named`` tells apart two things that the strategy does to sparse updates: who is silent has no
say, and who is surer has more of it.

K  updates in a round
P  elements in the whole parameter space
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barnraise.config import TrainingConfig
from barnraise.update_config import CodecConfig
from barnraise.updates import Update
from benchmarks.convergence.arms import STANDARD
from benchmarks.convergence.trunk import BASE
from benchmarks.convergence.world import World
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit
from merge.strategies.fisher import Fisher

CODECS = {
    "topk-64": CodecConfig(name="topk", k=64),
    "topk-256": CodecConfig(name="topk", k=256),
    "blockwise-4": CodecConfig(name="blockwise", bits=4),
}
RULES = ("mean", "named", "fisher", "exact")
GRID = ("topk-64,{},{},0", ("0.5", "1", "2", "4")), ("blockwise-4,{},{},0", ("1", "1.5", "2.2"))
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Arm:
    """One run: how updates are compressed and merged."""

    codec: str
    rule: str
    outer_lr: float
    seed: int

    @classmethod
    def parse(cls, text: str) -> Arm:
        codec, rule, rate, seed = text.split(",")
        if codec not in CODECS or rule not in RULES:
            raise SystemExit(f"{text}: codecs are {', '.join(CODECS)}; rules are {', '.join(RULES)}")
        return cls(codec, rule, float(rate), int(seed))


def sent(world: World, arm: Arm, base_P: Vector, who: int, number: int, residual_P: Vector) -> tuple[bytes, Vector]:
    """Train one unit; its update file with a Fisher, and the Fisher itself. ``residual_P`` is moved on."""
    training = TrainingConfig(steps=STANDARD.steps, batch=STANDARD.batch, learning_rate=STANDARD.learning_rate)
    seed = arm.seed * 1_000_003 + number * 101 + who
    trainer = Trainer(
        Unit(ByteLMTask(STANDARD.model, world.texts[who]), world.space, base_P, training, seed), torch.device("cpu")
    )
    while not trainer.done:
        trainer.step()
    fisher_P = trainer.fisher()
    done = finish_unit(Wanted(world.space, BASE, CODECS[arm.codec]), trainer.trained() - base_P + residual_P, fisher_P)
    residual_P[:] = done.residual_P
    return done.data, fisher_P


def merged(rule: str, world: World, files: list[bytes], exact: list[Vector]) -> Tensor:
    """What a round makes of its updates, float32 [P]."""
    deltas, fishers, segments = [], [], range(world.space.segment_count)
    for data, exact_P in zip(files, exact, strict=True):
        update = Update.parse(data, world.space, base_digest=BASE)
        delta_P = torch.from_numpy(np.concatenate([update.decode(segment) for segment in segments]))
        said_P = torch.from_numpy(np.concatenate([update.fisher(segment) for segment in segments]))
        named_P = (delta_P != 0).to(torch.float32)
        deltas.append(delta_P)
        fishers.append({"fisher": said_P, "exact": torch.from_numpy(exact_P) * named_P}.get(rule, named_P))
    weights_K = torch.ones(len(files))
    if rule == "mean":
        return Fisher().combine(deltas, weights_K)
    return Fisher().combine_with_fisher(deltas, fishers, weights_K)


def run(arm: Arm, world: World, rounds: int) -> dict[str, object]:
    """Train one arm from the start; its record."""
    began, model_P = time.process_time(), world.initial(arm.seed)
    residuals = [np.zeros_like(model_P) for _ in world.texts]
    curve, size, fisher_size = [], 0, 0
    for number in range(rounds):
        done = [sent(world, arm, model_P, who, number, residuals[who]) for who in range(len(world.texts))]
        files = [data for data, _ in done]
        size += sum(map(len, files))
        fisher_size += sum(fisher_bytes(data, world) for data in files)
        model_P = model_P + np.float32(arm.outer_lr) * merged(arm.rule, world, files, [f for _, f in done]).numpy()
        curve.append(round(world.bits(model_P, STANDARD.held_out), 4))
    return {
        "arm": [arm.codec, arm.rule, arm.outer_lr, arm.seed],
        "final_bits": round(world.bits(model_P, STANDARD.final), 4),
        "curve": curve,
        "up_bytes": size - (fisher_size if arm.rule in ("mean", "named") else 0),
        "fisher_bytes": fisher_size,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def fisher_bytes(data: bytes, world: World) -> int:
    """Bytes of the Fisher's array, without its name and offsets in the header."""
    update = Update.parse(data, world.space, base_digest=BASE)
    return sum(len(update.segment(index).fisher or b"") for index in range(world.space.segment_count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("arms", nargs="*", metavar="CODEC,RULE,OUTER_LR,SEED", help="default: a grid on seed 0")
    arguments = parser.parse_args()
    grid = [line.format(rule, rate) for line, rates in GRID for rule in RULES[:3] for rate in rates]
    torch.set_num_threads(1)
    world = World(STANDARD)
    for text in arguments.arms or grid:
        print(json.dumps(run(Arm.parse(text), world, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
