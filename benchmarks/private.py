"""What does privacy cost a contributor's training?

One contributor trains the run ``digits`` for some units, each from where the last one ended, with AdamW's moments kept:
plainly, with each example's gradient clipped but without noise, and with the noise of an epsilon that lasts for exactly
these units. After the last one the model answers pictures that nobody trained on. Nothing is compressed or merged:
what is seen is the cost of clipping and noise alone. Merging many contributors' updates averages their noise away;
one contributor's epsilon does not get better by it.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import arguments, finish, heading

from barnraise.config import RunConfig, load_run_config
from barnraise.corpora import corpus_of
from contributor.privacy.accountant import Spent, epsilon_of, noise_for
from contributor.privacy.budget import CLIP, DELTA
from contributor.privacy.gradients import Private
from contributor.privacy.noise import SecretStream
from contributor.tasks.answering import AnsweringTask
from contributor.training.accumulate import Gradients, Plain
from contributor.training.how import How
from contributor.training.trainer import Trainer, Unit
from merge.architectures import flat_of, load_flat, space_of

RUN = Path(__file__).parent.parent / "configs" / "runs" / "digits.toml"
CPU = torch.device("cpu")
SHARD = "low"


def trained(config: RunConfig, task: AnsweringTask, gradients: Gradients, units: int, seed: int) -> Any:
    """The module after so many units."""
    module = task.module()
    space = space_of(module)
    unit = Unit(task, space, flat_of(module, space), config.training, seed * 1000)
    for number in range(units):
        trainer = Trainer(replace(unit, seed=seed * 1000 + number), CPU, How(gradients=gradients))
        while not trainer.done:
            trainer.step()
        unit = replace(unit, base_P=trainer.trained(), moments=trainer.moments())
    load_flat(module, space, unit.base_P)
    return module.eval()


@torch.no_grad()
def asked(module: Any, task: AnsweringTask, held: AnsweringTask) -> tuple[float, float]:
    """Bits an answer on all held-out pictures, and on those trained on."""
    bits = []
    for one in (held, task):
        found = one.loss(module, one.pick(np.arange(one.examples)))
        bits.append(float(found.total) / found.count / math.log(2))
    return bits[0], bits[1]


def tasks(config: RunConfig) -> tuple[AnsweringTask, AnsweringTask]:
    """Pictures to train on, and held-out ones, of one shard."""
    corpus = corpus_of(config.data)
    return (
        AnsweringTask(config.model, corpus.text(SHARD, "train")),
        AnsweringTask(config.model, corpus.text(SHARD, "held-out")),
    )


def main() -> None:
    parser = arguments(__doc__, quick="two units of ten steps, one seed")
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--steps", type=int, default=30, help="of a unit")
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    units, steps, seeds = (2, 10, 1) if chosen.quick else (chosen.units, chosen.steps, chosen.seeds)
    lines = heading("What privacy costs", "torch", "numpy")
    config = load_run_config(RUN)
    config = config.model_copy(update={"training": config.training.model_copy(update={"steps": steps})})
    task, held = tasks(config)
    rate, all_steps = config.training.batch / task.examples, units * steps
    arms: list[tuple[str, str, Gradients]] = [("plain", "none", Plain())]
    for epsilon in (math.inf, 8.0, 3.0):
        noise = 0.0 if math.isinf(epsilon) else noise_for(epsilon, DELTA, rate, all_steps)
        spent = math.inf if noise == 0 else epsilon_of([Spent(rate, noise, all_steps)], DELTA)
        arms.append(
            (f"clipped at {CLIP:g}, noise {noise:.2f}", f"{spent:.2f}", Private(rate, noise, CLIP, SecretStream()))
        )
    lines += [
        f"Run digits, shard {SHARD}: {task.examples} pictures, batch {config.training.batch} expected of a draw with",
        f"probability {rate:.3f} each, {units} units of {steps} steps, delta {DELTA:g}, {seeds} seeds. Bits per",
        "answer, mean over seeds; 3.32 is guessing among ten, 3.00 among the shard's eight.",
        "",
        "| gradients | epsilon over all units | held-out | trained on |",
        "|---|---|---|---|",
    ]
    for name, epsilon_said, gradients in arms:
        found = [asked(trained(config, task, gradients, units, seed), task, held) for seed in range(1, seeds + 1)]
        means = [statistics.fmean(values) for values in zip(*found, strict=True)]
        lines.append(f"| {name} | {epsilon_said} | {means[0]:.3f} | {means[1]:.3f} |")
    finish("private", lines, write=chosen.write)


if __name__ == "__main__":
    main()
