"""How large a study is: a small byte model, or the one of benchmarks/topk_256.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from barnraise.config import load_run_config
from barnraise.data_config import StdlibData
from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig
from benchmarks.attached.recipes import RECIPES, STDLIB_RECIPES, Recipe
from benchmarks.convergence.arms import Scale
from benchmarks.convergence.world import SHARDS
from benchmarks.settings import TOPK_256

__all__ = ["QUICK", "SMALL", "Sizes", "stdlib_sizes"]


@dataclass(frozen=True)
class Sizes:
    """How large the study is.

    Attributes:
        name: of the size, in the names of records and results. steps: inner ones of a contributor in a round.
        shards: name -> modules of the standard library that the trunk learns. codec: of updates.
        plain: steps of training on one machine, all shards together, before the first round; a release is looked
            at after each of these numbers, the last one is where rounds begin.
        early: what attachments are made on first: after so many steps of plain training, or the round where there
            is none. last: the round whose release the siblings start from, and newer attachments are made on.
        shown: rounds of the trunk that are looked at. full: steps of a whole fine-tune.
        cheap, truth: windows of a cheap test, and of those that say how a fine-tune turned out. more: of a cheap
            test without training that may cost as much as a twentieth of a whole fine-tune; 0 for none. own: of the
            release's own shards. tasks: how many.
        rank: of the low-rank part of an attachment, which is looked at as well. skipped: tests that are left out.
        same_batches: siblings differ by nothing but their recipes. digits: are looked at as well.
    """

    name: str
    model: ByteLMConfig
    shards: Mapping[str, tuple[str, ...]]
    codec: CodecConfig
    steps: int
    early: int
    last: int
    shown: tuple[int, ...]
    full: int
    recipes: tuple[Recipe, ...] = RECIPES
    plain: tuple[int, ...] = ()
    cheap: int = 64
    truth: int = 384
    more: int = 0
    own: int = 256
    batch: int = 8
    learning_rate: float = 4e-3
    present: int = 4
    tasks: int = 4
    rank: int = 4
    skipped: tuple[str, ...] = ()
    same_batches: bool = False
    digits: bool = False

    @property
    def scale(self) -> Scale:
        """As the world is built from."""
        rounds = max(self.shown)
        return Scale(
            "attached", self.model, rounds, self.steps, self.batch, self.learning_rate, 1, self.present, final=self.own
        )


_FIRST = {name: tuple(modules.split()) for name, modules in list(SHARDS.items())[:4]}

SMALL = Sizes(
    "small",
    ByteLMConfig(dim=48, layers=2, heads=2, hidden=96, context=32),
    _FIRST,
    CodecConfig(name="topk", k=512),
    steps=10,
    early=4,
    last=16,
    shown=(6, 8, 10, 12, 14, 16, 17, 18, 19, 20),
    full=100,
    digits=True,
)
QUICK = replace(
    SMALL,
    name="quick",
    model=ByteLMConfig(dim=16, layers=1, heads=2, hidden=32, context=16),
    steps=2,
    early=1,
    last=2,
    shown=(2, 3),
    full=6,
    cheap=16,
    truth=32,
    tasks=1,
    rank=2,
)


def stdlib_sizes() -> Sizes:
    """The standard-library model: architecture, shards, inner steps and codec as benchmarks/topk_256.toml has them.

    A whole fine-tune is 32 steps of 8 windows of 128 bytes, which is what an hour of one core allows for twice two
    tasks and 22 releases. The first releases are made by plain training, which costs as much as a round for each 48
    steps and gets further.
    """
    run = load_run_config(TOPK_256)
    assert isinstance(run.model, ByteLMConfig)
    assert isinstance(run.data, StdlibData)
    return Sizes(
        "stdlib",
        run.model,
        run.data.shards,
        run.update.codec,
        steps=run.training.steps,
        early=140,
        last=3,
        shown=(1, 2, 3, 4),
        full=32,
        recipes=STDLIB_RECIPES,
        plain=(80, 120, 170, 240, 320, 400),
        cheap=16,
        truth=96,
        more=36,
        own=64,
        batch=run.training.batch,
        learning_rate=run.training.learning_rate,
        tasks=2,
        rank=8,
        skipped=("attached early + 2", "attached + 5", "short 5"),
        same_batches=True,
    )
