"""One run of one arm: contributors train, compress and send; the coordinator merges and releases.

Everything that the project exists for is its own code: ``contributor.training.trainer`` and
``contributor.unit`` make the file of an update, ``barnraise.updates`` reads it, ``merge``
merges and compresses it (``trunk.py``). Bytes are the lengths of those files.

P  elements in the whole parameter space
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.config import TrainingConfig
from barnraise.update_config import CodecConfig
from barnraise.updates import Turn
from benchmarks.convergence.arms import Arm, Scale, Tuning
from benchmarks.convergence.trunk import BASE, Trunk
from benchmarks.convergence.world import World
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Progress, Trainer, Unit
from contributor.unit import Wanted, finish_unit

__all__ = ["Ceiling", "Traffic", "presence", "run"]

CPU = torch.device("cpu")
Vector = NDArray[np.float32]
Point = tuple[float, int, int, int, float]  # round, tokens, bytes up, bytes down, bits per byte
Ceiling = Mapping[float, float]  # round -> bits per byte above which a run is given up
Outcome = tuple[list[Point], float | None]  # the curve; final bits per byte, None if given up


def presence(arm: Arm, scale: Scale, rounds: int, seed: int) -> list[list[int]]:
    """Who is present in each round: all, or under churn as many out of twice as many."""
    here = list(range(scale.present))
    if not arm.swapped:
        return [here] * rounds
    draws = np.random.default_rng([seed, 77])
    away = list(range(scale.present, 2 * scale.present))
    plan = []
    for _ in range(rounds):
        plan.append(sorted(here))
        leave = draws.choice(len(here), arm.swapped, replace=False)
        come = draws.choice(len(away), arm.swapped, replace=False)
        for i, j in zip(leave, come, strict=True):
            here[i], away[j] = away[j], here[i]
    return plan


@dataclass
class Traffic:
    """Sizes of files sent and fetched.

    Attributes:
        keyframe: size of a whole model. patches: of every release so far. holds: which release each contributor has.
    """

    keyframe: int
    up: int = 0
    down: int = 0
    patches: list[int] = field(default_factory=list)
    holds: dict[int, int] = field(default_factory=dict)

    def catch_up(self, who: Sequence[int]) -> None:
        """Everyone in ``who`` fetches the patches that it misses, or the whole model where that is less."""
        for contributor in who:
            missed = self.patches[self.holds.get(contributor, 0) :]
            self.down += min(sum(missed), self.keyframe)
            self.holds[contributor] = len(self.patches)


def run(arm: Arm, tuning: Tuning, seed: int, world: World, ceiling: Ceiling) -> dict[str, Any]:
    """Train one arm from the start; the record of the run."""
    began = time.process_time()
    train = _single if arm.single else _federated
    curve, final = train(arm, tuning, seed, world, ceiling)
    return {
        "arm": arm.name,
        "scale": world.scale.name,
        "seed": seed,
        "tuning": list(tuning),
        "final_bits": final,
        "up_bytes": curve[-1][2],
        "down_bytes": curve[-1][3],
        "curve": [list(point) for point in curve],
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def _federated(arm: Arm, tuning: Tuning, seed: int, world: World, ceiling: Ceiling) -> Outcome:
    """Rounds of contributors and coordinator."""
    scale = world.scale
    rounds, steps = round(scale.rounds / arm.stretch), round(scale.steps * arm.stretch)
    every = max(1, round(scale.every / arm.stretch))
    tokens = scale.present * steps * scale.batch * scale.model.context
    plan = presence(arm, scale, rounds, seed)
    lasting, momentum, peak = tuning
    outer = lasting * (1 - momentum), momentum
    trunk = Trunk(world.space, world.initial(seed), outer, named=arm.named, turns=arm.turns_down)
    crowd = Crowd(arm, world, seed, steps)
    traffic = Traffic(keyframe=4 * world.space.size)
    curve: list[Point] = [(0.0, 0, 0, 0, world.bits(trunk.model_P, scale.held_out))]
    for number, here in enumerate(plan):
        crowd.learning_rate = peak * scale.rates.factor(number, rounds)
        before, after = plan[max(number - 1, 0)], plan[min(number + 1, rounds - 1)]
        files = []
        for who in here:
            codec = codec_of(arm, number / rounds, new=who not in before, leaves=who not in after)
            files.append(crowd.update(who, number, trunk.model_P, codec))
            traffic.up += len(files[-1])
        crowd.leave([who for who in here if who not in after])
        traffic.patches.append(trunk.release(files, arm.down))
        traffic.catch_up(after)
        if (number + 1) % every and number + 1 < rounds:
            continue
        at = (number + 1) / rounds * scale.rounds
        curve.append((at, (number + 1) * tokens, traffic.up, traffic.down, world.bits(trunk.model_P, scale.held_out)))
        if curve[-1][4] > ceiling.get(at, float("inf")):
            return curve, None
    return curve, world.bits(trunk.model_P, scale.final)


def codec_of(arm: Arm, done: float, *, new: bool, leaves: bool) -> CodecConfig:
    """How an update is compressed; ``done`` is the share of the rounds that are over."""
    if leaves and arm.last is not None:
        return arm.last
    if new and arm.first is not None:
        return arm.first
    if done < 0.2 and arm.early is not None:
        return arm.early
    return arm.up


class Crowd:
    """All contributors and their residuals.

    Attributes:
        last_target_P: float32 [P], the change that the last update was to say.
        learning_rate: of the inner steps, for everybody; may be set before a round.
    """

    last_target_P: Vector

    def __init__(self, arm: Arm, world: World, seed: int, steps: int) -> None:
        scale = world.scale
        self._arm = arm
        self._world = world
        self._seed = seed
        self.learning_rate = scale.learning_rate
        self._steps = steps
        self._residuals: dict[int, Vector] = {}
        self._moments: dict[int, Progress] = {}

    def update(self, who: int, number: int, base_P: Vector, codec: CodecConfig) -> bytes:
        """Train from ``base_P`` in round ``number``; the file that ``who`` sends."""
        seed, batch = _seed_of(self._seed, number, who), self._world.scale.batch
        training = TrainingConfig(steps=self._steps, batch=batch, learning_rate=self.learning_rate)
        unit = Unit(ByteLMTask(self._world.scale.model, self._text(who)), self._world.space, base_P, training, seed)
        trainer = Trainer(unit, CPU)
        if who in self._moments:
            trainer.restore(replace(self._moments[who], losses=(), model_P=base_P))
        while not trainer.done:
            trainer.step()
        target_P = trainer.trained() - base_P
        if self._arm.moments:
            done_before = self._moments[who].step if who in self._moments else 0
            self._moments[who] = replace(trainer.progress(), step=done_before + self._steps)
        if who in self._residuals:
            target_P += np.float32(self._arm.decay) * self._residuals[who]
        self.last_target_P = target_P
        turns, space = self._arm.turns_up, self._world.space
        turn = None if turns is None else Turn(space, turns, number)
        done = finish_unit(Wanted(space, BASE, codec, turn), target_P)
        self._residuals[who] = done.residual_P
        return done.data

    def leave(self, who: Sequence[int]) -> None:
        """They lose their residuals and AdamW's moments, unless the arm keeps them."""
        if self._arm.on_leaving == "lost":
            for contributor in who:
                del self._residuals[contributor]
                self._moments.pop(contributor, None)

    def _text(self, who: int) -> bytes:
        """Its domain; under churn two share one, half each."""
        text = self._world.texts[who % len(self._world.texts)]
        if not self._arm.swapped:
            return text
        half = len(text) // 2
        return text[:half] if who < len(self._world.texts) else text[half:]


def _single(arm: Arm, tuning: Tuning, seed: int, world: World, ceiling: Ceiling) -> Outcome:
    """One AdamW over all text, at the tokens of the other arms and with the rates of their rounds."""
    scale, batch, peak = world.scale, arm.single, tuning[2]
    steps = scale.rounds * scale.present * scale.steps * scale.batch // batch
    task, start_P = ByteLMTask(scale.model, b"".join(world.texts)), world.initial(seed)
    curve: list[Point] = [(0.0, 0, 0, 0, world.bits(start_P, scale.held_out))]
    progress: Progress | None = None
    for number in range(scale.rounds):
        rate = peak * scale.rates.factor(number, scale.rounds)
        training = TrainingConfig(steps=steps, batch=batch, learning_rate=rate)
        trainer = Trainer(Unit(task, world.space, start_P, training, _seed_of(seed, 5)), CPU)
        if progress is not None:
            trainer.restore(progress)
        while len(trainer.losses) < steps * (number + 1) // scale.rounds:
            trainer.step()
        progress, at = trainer.progress(), float(number + 1)
        if (number + 1) % scale.every and number + 1 < scale.rounds:
            continue
        tokens = len(trainer.losses) * batch * scale.model.context
        curve.append((at, tokens, 0, 0, world.bits(progress.model_P, scale.held_out)))
        if curve[-1][4] > ceiling.get(at, float("inf")):
            return curve, None
    return curve, world.bits(trainer.trained(), scale.final)


def _seed_of(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])
