"""What does each kind of update cost, and what does a round get for it?

    python benchmarks/update_kinds.py [--quick] [--write]

Contributors with their own shards of the standard library train on from a small byte model that has
seen all shards a little: all tensors, some tensors, low-rank factors, or the entries of a mask. Every
arm has the same units, the same windows and the mean of its updates, added to the trunk as it is; what
a codec leaves out goes into the next unit. Each arm runs at two learning rates, for few parameters want
a higher one than many; the table has both.

Also: what averaging factors instead of changes would do to a round, and what entropy coding would
save of values that travel without a support. ``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from report import arguments, finish, heading

from barnraise.config import TrainingConfig, bundled_config, load_run_config
from barnraise.corpora import corpus_of
from barnraise.digest import digest_bytes
from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig, LoraConfig, UpdateConfig
from barnraise.updates import Mask, Part, Update, asked_carrier
from barnraise.updates.bits import unpack_fields
from barnraise.updates.factors import Factors, product_of
from barnraise.updates.mask import write_mask
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.entries import Entries
from contributor.training.lora import LowRank
from contributor.training.scores import fisher_scores, random_scores
from contributor.training.trainable import EVERYTHING, Some, WhatTrains
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit
from merge.architectures import build, flat_of, load_flat, space_of
from merge.compress.mask import choose_entries

MODEL = ByteLMConfig(dim=128, layers=3, heads=4, hidden=320, context=128)
BASE = digest_bytes(b"base")
SPACE = space_of(build(MODEL))
RATES = (2e-3, 8e-3)
WARM_STEPS, STEPS, BATCH, WINDOWS = 40, 6, 4, 32
EIGHT = CodecConfig(name="blockwise", bits=8)
TOPK = CodecConfig(name="topk", k=64)
CPU = torch.device("cpu")
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """Where every arm begins: one task and some held-out windows a shard."""

    tasks: list[ByteLMTask]
    windows: torch.Tensor
    base_P: Vector

    @classmethod
    def make(cls) -> World:
        data = load_run_config(bundled_config("stdlib-lm")).data
        corpus, width = corpus_of(data), MODEL.context + 1
        tasks = [ByteLMTask(MODEL, corpus.text(shard, "train")) for shard in data.shards]
        rows = []
        for shard in data.shards:
            text = np.frombuffer(corpus.text(shard, "held-out"), dtype=np.uint8)
            starts = np.random.default_rng(0).integers(0, len(text) - width, WINDOWS)
            rows += [text[start : start + width] for start in starts]
        base_P = flat_of(build(MODEL), SPACE)
        for number, task in enumerate(tasks):
            base_P = base_P + trained(task, base_P, number, EVERYTHING, (RATES[0], WARM_STEPS)).change()
        return cls(tasks, torch.from_numpy(np.stack(rows)), base_P)

    def bits(self, flat_P: Vector) -> float:
        """Held-out bits per byte."""
        module = build(MODEL)
        load_flat(module, SPACE, flat_P)
        with torch.no_grad():
            found = self.tasks[0].loss(module, {"windows": self.windows})
        return float(found.total) / found.count / math.log(2)


def trained(task: ByteLMTask, base_P: Vector, seed: int, what: WhatTrains, at: tuple[float, int]) -> Trainer:
    """A unit at some learning rate, for some steps."""
    training = TrainingConfig(steps=at[1], batch=BATCH, learning_rate=at[0])
    trainer = Trainer(Unit(task, SPACE, base_P, training, seed, None, what), CPU)
    while not trainer.done:
        trainer.step()
    return trainer


@dataclass(frozen=True)
class Arm:
    """A kind of update; ``what`` makes what trains in a unit of some seed."""

    name: str
    wanted: Wanted
    what: Callable[[int], WhatTrains]


def arms(world: World) -> list[Arm]:
    def plain(name: str, codec: CodecConfig, train: tuple[str, ...] = ()) -> Arm:
        carrier = asked_carrier(SPACE, UpdateConfig(codec=codec, train=train))
        what = Some(carrier) if isinstance(carrier, Part) else EVERYTHING
        return Arm(name, Wanted(SPACE, BASE, codec, carrier), lambda _: what)

    def low_rank(rank: int) -> Arm:
        carrier = asked_carrier(SPACE, UpdateConfig(codec=EIGHT, lora=LoraConfig(rank=rank)))
        assert isinstance(carrier, Factors)
        wanted = Wanted(SPACE, BASE, EIGHT, carrier)
        return Arm(f"factors of rank {rank}, 8 bits", wanted, lambda seed: LowRank(carrier, 1.0, seed))

    def masked(by: str, scores_P: Vector) -> Arm:
        mask = Mask.parse(write_mask(SPACE, BASE, choose_entries(scores_P, SPACE, 1 / 64)), SPACE)
        return Arm(f"mask by {by}, 1/64, 8 bits", Wanted(SPACE, BASE, EIGHT, mask), lambda _: Entries(mask))

    return [
        plain("all tensors, 4 bits", CodecConfig(name="blockwise", bits=4)),
        plain("all tensors, top-k 64", TOPK),
        plain("feed-forward blocks, top-k 64", TOPK, ("*.mlp.*",)),
        low_rank(8),
        masked("Fisher", fisher_scores(world.tasks, SPACE, world.base_P, 16, 0)),
        masked("lot", random_scores(SPACE.size, 0)),
    ]


def run(arm: Arm, world: World, rate: float, rounds: int) -> tuple[float, list[bytes]]:
    """Held-out bits per byte at the end, and the files of the last round."""
    base_P = world.base_P.copy()
    files: list[bytes] = []
    residuals = [np.zeros(arm.wanted.target.size, dtype=np.float32) for _ in world.tasks]
    for number in range(rounds):
        files = []
        for who, task in enumerate(world.tasks):
            seed = 1000 * (number + 1) + who
            change_P = trained(task, base_P, seed, arm.what(seed), (rate, STEPS)).change()
            done = finish_unit(arm.wanted, change_P + residuals[who])
            residuals[who] = done.residual_P
            files.append(done.data)
        base_P = base_P + np.mean([change_of(arm, data) for data in files], axis=0, dtype=np.float32)
    return world.bits(base_P), files


def change_of(arm: Arm, data: bytes) -> Vector:
    mask = arm.wanted.carrier if isinstance(arm.wanted.carrier, Mask) else None
    update = Update.parse(data, SPACE, base_digest=BASE, mask=mask)
    return np.concatenate([update.decode(segment) for segment in range(SPACE.segment_count)])


def averaged_apart(arm: Arm, files: list[bytes]) -> float:
    """How far the product of mean factors is from the mean of products, as a share of the latter's norm."""
    carrier = arm.wanted.carrier
    assert isinstance(carrier, Factors)
    updates = [Update.parse(data, SPACE, base_digest=BASE) for data in files]
    carried = [carrier.space.unflatten(update.reading(0, carrier.space.size)) for update in updates]
    names = [spec.name for spec in carrier.target.tensors]
    off = size = 0.0
    for name in names:
        products = np.mean([product_of(one[f"{name}/b"], one[f"{name}/a"]) for one in carried], axis=0)
        sides = [np.mean([one[f"{name}/{side}"] for one in carried], axis=0) for side in "ba"]
        off += float(np.square(products - sides[0] @ sides[1]).sum())
        size += float(np.square(products).sum())
    return math.sqrt(off / size)


def entropy_of_levels(arm: Arm, data: bytes) -> float:
    """Bits that a level has, if nothing but how often each one comes is used."""
    mask = arm.wanted.carrier if isinstance(arm.wanted.carrier, Mask) else None
    update = Update.parse(data, SPACE, base_digest=BASE, mask=mask)
    spans = [(update.segment(i).levels, update.carried.segment_range(i)) for i in range(update.carried.segment_count)]
    codes = np.concatenate([unpack_fields(levels, end - start, 8, np.uint8) for levels, (start, end) in spans])
    shares = np.bincount(codes) / len(codes)
    return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def main() -> None:
    chosen = arguments(__doc__, quick="one round").parse_args()
    torch.set_num_threads(1)
    rounds = 1 if chosen.quick else 3
    text = heading("Kinds of updates", "torch", "numpy")
    world = World.make()
    before = world.bits(world.base_P)
    lines = ["| kind | trains | bytes an update | bits a parameter |" + "".join(f" at {rate:g} |" for rate in RATES)]
    lines.append("|---|---|---|---|" + "---|" * len(RATES))
    notes = []
    for arm in arms(world):
        found = [run(arm, world, rate, rounds) for rate in RATES]
        size = float(np.mean([len(data) for data in found[0][1]]))
        trains = arm.what(0).layout(SPACE).size
        ends = " | ".join(f"{bits:.3f}" for bits, _ in found)
        lines.append(f"| {arm.name} | {trains:,} | {size:,.0f} | {8 * size / SPACE.size:.3f} | {ends} |")
        print(lines[-1], file=sys.stderr, flush=True)
        if isinstance(arm.wanted.carrier, Factors):
            notes.append(
                f"Averaging factors instead of changes would be off by {averaged_apart(arm, found[0][1]):.0%} of the "
                "merged change's norm in the last round."
            )
        if arm.wanted.codec == EIGHT:
            bits = entropy_of_levels(arm, found[0][1][0])
            notes.append(f"{arm.name}: the entropy of levels is {bits:.2f} bits, of the 8 that they cost.")
    text += [
        f"A byte model of {SPACE.size:,} parameters, trained for {WARM_STEPS} steps on each of {len(world.tasks)}",
        f"shards in turn: {before:.3f} held-out bits per byte. Then {rounds} rounds of {len(world.tasks)} contributors",
        f"with {STEPS} steps of {BATCH} windows each;",
        "the last columns are held-out bits per byte after them, by learning rate. One seed: read differences of less",
        "than 0.02 as none. Whole files; what trains is what optimiser and checkpoints hold.",
        "",
        *lines,
        "",
        *[f"- {note}" for note in notes],
    ]
    finish("update_kinds", text, write=chosen.write)


if __name__ == "__main__":
    main()
