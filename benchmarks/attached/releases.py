"""Releases of one trunk and candidates beside it, honest and damaged, made by the project's own training and merging.

    trunk      releases after some steps of plain training, where there are any, and after each of the rounds
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
from barnraise.update_config import CodecConfig
from benchmarks.attached.kept import Kept
from benchmarks.attached.recipes import TRUNK, Recipe
from benchmarks.attached.sizes import Sizes
from benchmarks.convergence.trunk import BASE, Trunk
from benchmarks.convergence.world import World
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit

__all__ = ["Made", "make_releases"]

Vector = NDArray[np.float32]
DENSE = CodecConfig(name="dense")
CPU = torch.device("cpu")
PLAIN_SEED, SIBLINGS_FROM = 77, 1000

Training = tuple[int, int, int, float, bool]
"""Number of the round, contributor, steps, learning rate, whether the text is gibberish."""
Trained = dict[Training, Vector]


@dataclass(frozen=True)
class Made:
    """A model that is looked at. ``kind``: ``trunk``, ``sibling`` or ``damaged``; ``early`` is not looked at.

    Attributes:
        parent: the one that is looked at and that it was made from, if there is one; whatever lies between.
    """

    name: str
    kind: str
    model_P: Vector
    parent: str = ""


def make_releases(sizes: Sizes, world: World, kept: Kept) -> dict[str, Made]:
    """Name -> model: ``early``, then everything that is looked at."""
    found, trunk_P, parent = _plainly_trained(sizes, world, kept)
    trained: Trained = {}
    for number in range(1, max(sizes.shown) + 1):
        base_P = trunk_P
        if number == sizes.last + 1:
            for place, recipe in enumerate(sizes.recipes):
                kind = "sibling" if recipe.honest else "damaged"
                # Each with batches of its own; or all with the same where training is dear, and what a contributor
                # does in several recipes is done once.
                draw = number if sizes.same_batches else SIBLINGS_FROM + place
                made_P = kept.vector(
                    recipe.name,
                    lambda recipe=recipe, draw=draw, at=base_P: _round(Place(sizes, world, at, draw, trained), recipe),
                )
                found[recipe.name] = Made(recipe.name, kind, made_P, f"round {sizes.last}")
        name = f"round {number}"
        trunk_P = kept.vector(
            name, lambda number=number, at=base_P: _round(Place(sizes, world, at, number, trained), TRUNK)
        )
        if number == sizes.early and not sizes.plain:
            found["early"] = Made("early", "early", trunk_P)
        if number in sizes.shown:
            found[name] = Made(name, "trunk", trunk_P, parent)
            parent = name
    return found


def _plainly_trained(sizes: Sizes, world: World, kept: Kept) -> tuple[dict[str, Made], Vector, str]:
    """Releases of plain training, the last model of it, and that one's name; the beginning where there is none."""
    at_P, found, parent = world.initial(0), dict[str, Made](), ""
    if not sizes.plain:
        return found, at_P, parent
    marks = sorted({*sizes.plain, sizes.early})
    training = TrainingConfig(steps=marks[-1], batch=sizes.batch, learning_rate=sizes.learning_rate)
    task = ByteLMTask(sizes.model, b"\n".join(world.texts))
    trainer = Trainer(Unit(task, world.space, at_P, training, PLAIN_SEED), CPU)

    def until(mark: int) -> Vector:
        while len(trainer.losses) < mark:
            trainer.step()
        return trainer.trained()

    for mark in marks:
        name = f"{mark} steps"
        at_P = kept.vector(name, lambda mark=mark: until(mark))
        if mark == sizes.early:
            found["early"] = Made("early", "early", at_P)
        if mark in sizes.plain:
            found[name] = Made(name, "trunk", at_P, parent)
            parent = name
    return found, at_P, parent


@dataclass(frozen=True)
class Place:
    """Where a round begins.

    Attributes:
        number: decides the batches, and the noise of a recipe that has some. trained: what contributors did so far.
    """

    sizes: Sizes
    world: World
    base_P: Vector
    number: int
    trained: Trained


def _round(place: Place, recipe: Recipe) -> Vector:
    """One round: train, compress, merge."""
    files = [_update(place, recipe, who) for who in recipe.who]
    trunk = Trunk(place.world.space, place.base_P.copy(), (recipe.outer, 0.0))
    trunk.release(files, DENSE)
    model_P = trunk.model_P
    if recipe.noise:
        noise_P = np.random.default_rng(place.number).standard_normal(len(model_P), dtype=np.float32)
        model_P = model_P + np.float32(recipe.noise * float(np.abs(place.base_P).mean())) * noise_P
    return model_P


def _update(place: Place, recipe: Recipe, who: int) -> bytes:
    first = who == 0
    steps = max(1, round(place.sizes.steps * recipe.steps))
    rate = place.sizes.learning_rate * (1.0 if first else recipe.rate)
    key = (place.number, who, steps, rate, recipe.gibberish and first)
    if key not in place.trained:
        place.trained[key] = _change(place, key)
    target_P = place.trained[key]
    if recipe.poison and first:
        target_P = target_P * np.float32(recipe.poison)
    return finish_unit(Wanted(place.world.space, BASE, recipe.codec or place.sizes.codec), target_P).data


def _change(place: Place, key: Training) -> Vector:
    """What a contributor's training changes."""
    number, who, steps, rate, gibberish = key
    sizes, world = place.sizes, place.world
    text = world.texts[who]
    if gibberish:
        text = np.random.default_rng(7).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    training = TrainingConfig(steps=steps, batch=sizes.batch, learning_rate=rate)
    trainer = Trainer(Unit(ByteLMTask(sizes.model, text), world.space, place.base_P, training, number * 100 + who), CPU)
    while not trainer.done:
        trainer.step()
    return trainer.trained() - place.base_P
