"""Updates that were really trained, honest ones and planted ones, with the numbers that recognising goes by.

Eight contributors train the small model of benchmarks/convergence round after round, each on a
domain of its own; what they send is merged and released. In some of the rounds others join:
four that train honestly on a shard that somebody else has too, and those that only pretend.
Everything that the project exists for is its own code, as in benchmarks/convergence.

K  updates, planted ones included
P  elements in the whole parameter space
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from barnraise.config import TrainingConfig
from barnraise.corpus import Corpus
from barnraise.data_config import StdlibData
from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig
from barnraise.updates import Update
from benchmarks.convergence.arms import STANDARD, Scale
from benchmarks.convergence.trunk import BASE, Trunk
from benchmarks.convergence.world import SHARDS, World
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from contributor.unit import FinishedUnit, Wanted, finish_unit
from coordinator.acceptance.updates.contribution import PairedLosses
from merge.architectures import build, load_flat

__all__ = ["CODECS", "KINDS", "Plantation", "Planted", "PlantedRound", "scale_of"]

CODECS = {"topk-256": CodecConfig(name="topk", k=256), "blockwise-8": CodecConfig(name="blockwise", bits=8)}
KINDS = (
    "honest",
    "twin",
    "zero",
    "tiny",
    "noise",
    "echo",
    "copy",
    "scaled",
    "flipped",
    "noisy copy 0.3",
    "noisy copy 1",
    "tuned",
    "tuned hard",
)
HIDDEN_EACH, OWN, PUBLIC_EACH = 8, 32, 8
DECAY = np.float32(0.9)
Vector = NDArray[np.float32]
Windows = NDArray[np.uint8]


@dataclass(frozen=True)
class Planted:
    """One update.

    Attributes:
        kind: one of ``KINDS``. shard: that it was leased.
        hidden, own, public: losses without and with it.
    """

    kind: str
    shard: int
    hidden: PairedLosses
    own: PairedLosses
    public: PairedLosses


@dataclass(frozen=True)
class PlantedRound:
    """A round.

    Attributes:
        gram_KK: float64, inner products of the updates and of the patch before, which comes last.
        domains: of the hidden and of the public examples, which are in the same order of domains.
    """

    number: int
    updates: tuple[Planted, ...]
    gram_KK: NDArray[np.float64]
    domains: NDArray[np.int64]


class Plantation:
    """A run of ``rounds`` rounds with planted updates in some of them."""

    def __init__(self, codec: CodecConfig, seed: int, scale: Scale) -> None:
        self._world = World(scale)
        self._scale, self._codec, self._seed = scale, codec, seed
        self._module = build(scale.model).eval()
        self._windows = _cut(scale, np.random.default_rng([seed, 1]))
        self._public = self._fresh(PUBLIC_EACH)

    def rounds(self, rounds: int, planted: Mapping[int, int] | set[int]) -> Iterator[PlantedRound]:
        """Train ``rounds`` rounds; those in ``planted`` come back, with everything that is planted there."""
        trunk = Trunk(self._world.space, self._world.initial(self._seed), (1.0, 0.0))
        residuals = [np.zeros_like(trunk.model_P) for _ in self._world.texts]
        patch_P = np.zeros_like(trunk.model_P)
        for number in range(rounds):
            base_P, files = trunk.model_P.copy(), []
            for who, residual_P in enumerate(residuals):
                done = self._sent(self._trained(base_P, who, number, who) + DECAY * residual_P)
                residual_P[:] = done.residual_P
                files.append(done.data)
            if number in planted:
                yield self._plant(base_P, number, [self._read(data) for data in files], patch_P)
            trunk.release(files, CodecConfig(name="dense"))
            patch_P = trunk.model_P - base_P

    def _plant(self, base_P: Vector, number: int, honest: list[Vector], patch_P: Vector) -> PlantedRound:
        named = [("honest", who, update_P) for who, update_P in enumerate(honest)]
        shards = len(self._world.texts)
        for who in range(0, shards, 2):
            named.append(("twin", who, self._said(self._trained(base_P, who, number, 1000 + who))))
        draws = np.random.default_rng([self._seed, number])
        victim, mine = (int(who) for who in draws.choice(shards, 2, replace=False))
        copied_P, length = honest[victim], float(np.linalg.norm(honest[victim]))
        named += [
            ("zero", mine, np.zeros_like(base_P)),
            ("tiny", mine, self._said(np.float32(0.02) * self._trained(base_P, mine, number, 2000))),
            ("noise", mine, self._said(_noise(draws, base_P.size, length))),
            ("echo", mine, self._said(patch_P)),
            ("copy", mine, copied_P.copy()),
            ("scaled", mine, np.float32(0.4) * copied_P),
            ("flipped", mine, -copied_P),
            ("noisy copy 0.3", mine, self._said(copied_P + _noise(draws, base_P.size, 0.3 * length))),
            ("noisy copy 1", mine, self._said(copied_P + _noise(draws, base_P.size, length))),
            ("tuned", mine, self._said(self._trained(base_P, mine, number, 3000, self._public.tobytes()))),
            ("tuned hard", mine, self._said(self._trained(base_P, mine, number, 4000, self._public.tobytes(), 5))),
        ]
        hidden, own = self._fresh(HIDDEN_EACH), [self._fresh(OWN, shard) for shard in range(shards)]
        base = {id(windows): self._bits(base_P, windows) for windows in (hidden, self._public, *own)}
        updates = []
        for kind, shard, update_P in named:
            found = [
                PairedLosses(base[id(windows)], self._bits(base_P + update_P, windows))
                for windows in (hidden, own[shard], self._public)
            ]
            updates.append(Planted(kind, shard, *found))
        rows = np.stack([*(update_P for _, _, update_P in named), patch_P]).astype(np.float64)
        domains = np.arange(len(hidden)) // HIDDEN_EACH
        return PlantedRound(number, tuple(updates), rows @ rows.T, domains)

    def _trained(
        self, base_P: Vector, shard: int, number: int, who: int, text: bytes | None = None, times: int = 1
    ) -> Vector:
        scale = self._scale
        training = TrainingConfig(steps=times * scale.steps, batch=scale.batch, learning_rate=scale.learning_rate)
        seed = self._seed * 1_000_003 + number * 10_007 + who
        text = self._world.texts[shard] if text is None else text
        trainer = Trainer(
            Unit(ByteLMTask(scale.model, text), self._world.space, base_P, training, seed), torch.device("cpu")
        )
        while not trainer.done:
            trainer.step()
        return trainer.trained() - base_P

    def _sent(self, target_P: Vector) -> FinishedUnit:
        return finish_unit(Wanted(self._world.space, BASE, self._codec), target_P)

    def _said(self, target_P: Vector) -> Vector:
        """What is left of a change when it was sent."""
        return self._read(self._sent(target_P).data)

    def _read(self, data: bytes) -> Vector:
        space = self._world.space
        update = Update.parse(data, space, base_digest=BASE)
        return np.concatenate([update.decode(segment) for segment in range(space.segment_count)])

    def _fresh(self, each: int, shard: int | None = None) -> Windows:
        """Windows that were not used before: ``each`` of every domain, or of one."""
        shards = range(len(self._windows)) if shard is None else [shard]
        taken = []
        for at in shards:
            taken.append(self._windows[at][:each])
            self._windows[at] = self._windows[at][each:]
            assert len(taken[-1]) == each, f"the held-out text of domain {at} is used up"
        return np.concatenate(taken)

    @torch.no_grad()
    def _bits(self, model_P: Vector, windows: Windows) -> NDArray[np.float64]:
        """Bits per byte of every window."""
        load_flat(self._module, self._world.space, model_P)
        windows_BT1 = torch.from_numpy(windows.astype(np.int64))
        logits_BTV = self._module(windows_BT1[:, :-1]).float()
        nats_BT = functional.cross_entropy(logits_BTV.transpose(1, 2), windows_BT1[:, 1:], reduction="none")
        found: NDArray[np.float64] = (nats_BT.double().mean(dim=1) / np.log(2)).numpy()
        return found


def scale_of(*, quick: bool) -> Scale:
    """How large the model is."""
    dim = 32 if quick else 64
    model = ByteLMConfig(dim=dim, layers=1 if quick else 2, heads=4, hidden=2 * dim, context=64)
    return Scale("planted", model, rounds=0, steps=12, batch=8, learning_rate=STANDARD.learning_rate, seeds=1)


def _cut(scale: Scale, draws: np.random.Generator) -> list[Windows]:
    """All held-out windows of every domain that do not overlap, shuffled."""
    corpus = Corpus.of(StdlibData(shards={name: tuple(modules.split()) for name, modules in SHARDS.items()}))
    width, found = scale.model.context + 1, []
    for shard in corpus.data.shards:
        text = np.frombuffer(corpus.text(shard, "held-out"), dtype=np.uint8)
        slots = len(text) // width
        found.append(text[: slots * width].reshape(slots, width)[draws.permutation(slots)])
    return found


def _noise(draws: np.random.Generator, size: int, length: float) -> Vector:
    noise_P = draws.normal(size=size)
    found: Vector = (noise_P * (length / np.linalg.norm(noise_P))).astype(np.float32)
    return found
