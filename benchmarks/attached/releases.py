"""Releases of one trunk and candidates beside it, honest and damaged, made by the project's own training and merging.

    trunk      a release after each of the rounds
    siblings   other candidates for one and the same round: less or more training, fewer contributors, one domain
               alone, a sparser codec; and damaged ones: a poisoner, noise, text that is none, too long steps

P  elements in the whole parameter space
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.config import TrainingConfig
from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig
from benchmarks.convergence.arms import Scale
from benchmarks.convergence.trunk import BASE, Trunk
from benchmarks.convergence.world import World
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit

__all__ = ["QUICK", "STANDARD", "Made", "Sizes", "make_releases"]

Vector = NDArray[np.float32]
CODEC = CodecConfig(name="topk", k=512)
DENSE = CodecConfig(name="dense")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """How large the study is.

    Attributes:
        steps: inner ones of a contributor in a round. early: the round whose release attachments are made on.
        last: the round whose release the siblings start from, and newer attachments are made on.
        shown: rounds of the trunk that are looked at. full: steps of a whole fine-tune.
        cheap, truth: windows of a cheap test, and of those that say how a fine-tune turned out.
    """

    model: ByteLMConfig
    steps: int
    early: int
    last: int
    shown: tuple[int, ...]
    full: int
    cheap: int = 64
    truth: int = 384
    batch: int = 8
    learning_rate: float = 4e-3
    present: int = 4
    tasks: int = 4

    @property
    def scale(self) -> Scale:
        rounds = max(self.shown)
        return Scale(
            "attached", self.model, rounds, self.steps, self.batch, self.learning_rate, 1, self.present, final=256
        )


STANDARD = Sizes(
    ByteLMConfig(dim=48, layers=2, heads=2, hidden=96, context=32),
    steps=10,
    early=4,
    last=16,
    shown=(6, 8, 10, 12, 14, 16, 17, 18, 19, 20),
    full=100,
)
QUICK = Sizes(
    ByteLMConfig(dim=16, layers=1, heads=2, hidden=32, context=16),
    steps=2,
    early=1,
    last=2,
    shown=(2, 3),
    full=6,
    cheap=16,
    truth=32,
    tasks=1,
)


@dataclass(frozen=True)
class Made:
    """A model that is looked at. ``kind``: ``trunk``, ``sibling`` or ``damaged``."""

    name: str
    kind: str
    model_P: Vector


@dataclass(frozen=True)
class _Recipe:
    """How a sibling's round differs from one of the trunk."""

    name: str
    honest: bool
    who: tuple[int, ...] = (0, 1, 2, 3)
    steps: float = 1.0
    rate: float = 1.0
    codec: CodecConfig = CODEC
    poison: float = 0.0
    noise: float = 0.0
    gibberish: bool = False


RECIPES = (
    _Recipe("half the steps", True, steps=0.5),
    _Recipe("three times the steps", True, steps=3.0),
    _Recipe("two contributors", True, who=(1, 2)),
    *(_Recipe(f"domain {who} alone", True, who=(who,)) for who in range(4)),
    _Recipe("sparse codec", True, codec=CodecConfig(name="topk", k=32)),
    _Recipe("a poisoner", False, poison=-3.0),
    _Recipe("a strong poisoner", False, poison=-20.0),
    _Recipe("a little noise", False, noise=0.05),
    _Recipe("much noise", False, noise=0.2),
    _Recipe("one trains on gibberish", False, gibberish=True),
    _Recipe("all but one train too fast", False, rate=6.0),
)


def make_releases(sizes: Sizes, world: World) -> dict[str, Made]:
    """Name -> model: ``early``, then everything that is looked at."""
    trunk_P = world.initial(0)
    found: dict[str, Made] = {}
    plain = _Recipe("trunk", True)
    for number in range(1, max(sizes.shown) + 1):
        if number == sizes.last + 1:
            for place, recipe in enumerate(RECIPES):
                kind = "sibling" if recipe.honest else "damaged"
                found[recipe.name] = Made(recipe.name, kind, _round(sizes, world, trunk_P, recipe, 1000 + place))
        trunk_P = _round(sizes, world, trunk_P, plain, number)
        if number == sizes.early:
            found["early"] = Made("early", "early", trunk_P)
        if number in sizes.shown:
            found[f"round {number}"] = Made(f"round {number}", "trunk", trunk_P)
    return found


def _round(sizes: Sizes, world: World, base_P: Vector, recipe: _Recipe, number: int) -> Vector:
    """One round from ``base_P``: train, compress, merge."""
    files = [_update(sizes, world, base_P, recipe, number, who) for who in recipe.who]
    trunk = Trunk(world.space, base_P.copy(), (1.0, 0.0))
    trunk.release(files, DENSE)
    model_P = trunk.model_P
    if recipe.noise:
        noise_P = np.random.default_rng(number).standard_normal(len(model_P), dtype=np.float32)
        model_P = model_P + np.float32(recipe.noise * float(np.abs(base_P).mean())) * noise_P
    return model_P


def _update(sizes: Sizes, world: World, base_P: Vector, recipe: _Recipe, number: int, who: int) -> bytes:
    steps = max(1, round(sizes.steps * recipe.steps))
    rate = sizes.learning_rate * (recipe.rate if who else 1.0)
    training = TrainingConfig(steps=steps, batch=sizes.batch, learning_rate=rate)
    text = world.texts[who]
    if recipe.gibberish and who == 0:
        text = np.random.default_rng(7).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    unit = Unit(ByteLMTask(sizes.model, text), world.space, base_P, training, number * 100 + who)
    trainer = Trainer(unit, CPU)
    while not trainer.done:
        trainer.step()
    target_P = trainer.trained() - base_P
    if recipe.poison and who == 0:
        target_P *= np.float32(recipe.poison)
    return finish_unit(Wanted(world.space, BASE, recipe.codec), target_P).data
