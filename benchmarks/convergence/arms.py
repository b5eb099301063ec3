"""What is compared: every arm as data, and the grid that each is tuned on.

An arm says how changes travel and who is present. The outer learning rate, its momentum and the peak of the inner
learning rate are no part of it: every arm gets them from the same grid. How the inner rate moves over the run is the
scale's, so it is the same for all arms.

Sources of the remedies for churn: residual decay as in SparseLoCo (Sarfi et al. 2025,
https://arxiv.org/abs/2508.15706) and DeMo (Peng et al. 2024, https://arxiv.org/abs/2411.19870); density
schedules from Deep Gradient Compression (Lin et al. 2018, https://arxiv.org/abs/1712.01887), whose warm-up sends more
at first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig
from benchmarks.convergence.rates import CONSTANT, COSINE, STABLE, Rates

__all__ = [
    "ARMS",
    "DEMO",
    "DEMO_ARMS",
    "INNER",
    "MOMENTUM",
    "OUTER",
    "QUICK",
    "QUICK_ARMS",
    "SCALES",
    "STANDARD",
    "Arm",
    "Scale",
    "Tuning",
    "arm_named",
]

Tuning = tuple[float, float, float]
"""Lasting outer step, outer momentum, peak of the inner learning rate. The outer learning rate is the lasting step
times (1 - momentum): how far a change goes in the end that every round wants."""

DENSE = CodecConfig(name="dense")
OUTER = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
MOMENTUM = (0.0, 0.5)
INNER = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
FAST, SLOW = 4, 1  # contributors that change places with absent ones after a round


def topk(k: int) -> CodecConfig:
    """``k`` entries of 4,096."""
    return CodecConfig(name="topk", k=k)


def blockwise(bits: Literal[8, 4, 2, 1]) -> CodecConfig:
    """Every element in ``bits`` bits."""
    return CodecConfig(name="blockwise", bits=bits)


@dataclass(frozen=True)
class Scale:
    """How large the experiment is; the tokens of a run follow from it.

    Attributes:
        name: of the scale, in the records. rounds: of ``steps`` inner steps each. present: updates in a round.
        held_out: windows of the curve's held-out set. final: windows of the final figure's. every: rounds between
            points of the curve. targets: losses to which bytes are counted.
        learning_rate: of inner steps, where no grid says another. rates: how it moves over the rounds.
        begins_at: name of a scale whose winners are the first points of the walks, instead of the two starts.
    """

    name: str
    model: ByteLMConfig
    rounds: int
    steps: int
    batch: int
    learning_rate: float
    seeds: int
    present: int = 8
    text_bytes: int = 800_000
    held_out: int = 256
    final: int = 1024
    every: int = 2
    targets: tuple[float, ...] = (3.5, 3.0)
    rates: Rates = CONSTANT
    begins_at: str | None = None


STANDARD = Scale(
    "standard",
    ByteLMConfig(dim=96, layers=2, heads=4, hidden=192, context=64),
    rounds=30,
    steps=12,
    batch=8,
    learning_rate=2e-3,
    seeds=3,
)
COSINE_30 = replace(STANDARD, name="cosine-30", rates=COSINE)
STABLE_30 = replace(STANDARD, name="stable-30", rates=STABLE)
STABLE_90 = replace(STABLE_30, name="stable-90", rounds=90, every=6, targets=(3.0, 2.5), begins_at="stable-30")
QUICK = Scale(
    "quick",
    ByteLMConfig(dim=48, layers=1, heads=2, hidden=96, context=32),
    rounds=8,
    steps=6,
    batch=8,
    learning_rate=4e-3,
    seeds=1,
    held_out=128,
    final=256,
    targets=(6.0,),
)
SMALL_30 = replace(STANDARD, name="small-30", model=QUICK.model)  # a sixth as large, to look around with
SCALES = {scale.name: scale for scale in (STABLE_30, STABLE_90, STANDARD, COSINE_30, SMALL_30)}


@dataclass(frozen=True)
class Arm:
    """One way to exchange changes.

    Attributes:
        up, down: codec of updates and of releases. turns_up, turns_down: of so many elements they say one, which has
            its turn in the round; None for all.
        decay: share of a contributor's residual that goes into its next update; 0 is no error feedback.
        swapped: contributors that leave after a round, while as many come, out of twice as many as are present.
            0 is no churn; half of ``present`` makes a stay of two rounds on average.
        on_leaving: what becomes of the residual of one who leaves: ``lost``, or ``kept`` until it returns.
        last: codec of the last update before leaving, if another than ``up``; ``first`` of the first after coming.
        early: codec of updates in the first fifth of the rounds, if another than ``up``.
        stretch: inner steps are multiplied by it, rounds divided.
        moments: contributors keep AdamW's moments from round to round, as in DiLoCo and as shipped; on leaving as
            their residual.
        named: merged to the sum of the updates that name an element, divided by their number and ``named`` more,
            instead of the mean of all; 0 is the mean of those who name it.
        like: the arm whose winner on the grid is taken, instead of a search.
        past: it is in records, and cannot be run any more.
        single: not 0 for one machine that trains with AdamW on batches of so many windows.
    """

    name: str
    title: str
    up: CodecConfig = DENSE
    down: CodecConfig = DENSE
    turns_up: int | None = None
    turns_down: int | None = None
    decay: float = 1.0
    swapped: int = 0
    on_leaving: Literal["lost", "kept"] = "lost"
    last: CodecConfig | None = None
    first: CodecConfig | None = None
    early: CodecConfig | None = None
    stretch: float = 1.0
    moments: bool = True
    named: float | None = None
    like: str | None = None
    past: bool = False
    single: int = 0

    @property
    def axes(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """The grid: lasting outer steps, momenta, inner learning rates. One machine takes its own steps only."""
        return ((1.0,), (0.0,), INNER) if self.single else (OUTER, MOMENTUM, INNER)

    @property
    def starts(self) -> tuple[Tuning, ...]:
        """The grid points that are tried first: a short step and a long one, for there may be a hill between them."""
        short = (1.0, 0.0, 4e-3)
        return (short,) if self.single else (short, (3.0, 0.0, 4e-3))

    def neighbours(self, point: Tuning) -> tuple[Tuning, ...]:
        """The grid points one step from ``point`` along one axis."""
        found = []
        for number, axis in enumerate(self.axes):
            at = axis.index(point[number])
            others = [axis[i] for i in (at + 1, at - 1) if 0 <= i < len(axis)]
            found += [(*point[:number], other, *point[number + 1 :]) for other in others]
        return tuple((outer, momentum, inner) for outer, momentum, inner in found)


F32 = Arm("f32", "float32 both ways (DiLoCo)")
TOPK = Arm("topk64", "top-k 64 up", up=topk(64), decay=0.9)
BOTH = replace(TOPK, name="both", title="top-k 64 up, top-k 256 down", down=topk(256))
WHOLE = replace(TOPK, name="topk64-whole", title="top-k 64 up, residual not decayed", decay=1.0)
CHURN_F32 = replace(F32, name="churn-f32", title="churn: float32", swapped=FAST, like="f32")
CHURN = replace(TOPK, name="churn-topk64", title="churn: top-k 64 up, residual lost", swapped=FAST)
KEPT = replace(CHURN, name="churn-kept", title="churn: residual and moments kept until the return", on_leaving="kept")
SIGNS = Arm("turn1", "all signs up", up=blockwise(1))
SEVENTH = Arm("turn7", "prototype: signs of a seventh in turn up", past=True)
TURN = Arm("turn8", "signs of an eighth in turn up", up=blockwise(1), turns_up=8, decay=0.5)
TURN_BOTH = replace(
    TURN,
    name="turn8-both",
    title="an eighth in turn, signs up and 4 bits down",
    down=blockwise(4),
    turns_down=8,
)
FORGETFUL_TURN = replace(
    TURN_BOTH,
    name="turn8-both-forget",
    title="an eighth in turn, signs up and 4 bits down, no error feedback",
    decay=0.0,
)
CHURN_TURN = replace(
    TURN_BOTH,
    name="churn-turn8-both",
    title="churn: an eighth in turn, signs up and 4 bits down, residual lost",
    swapped=FAST,
    like=TURN_BOTH.name,
)
CHURN_FORGETFUL_TURN = replace(
    FORGETFUL_TURN,
    name="churn-turn8-both-forget",
    title="churn: an eighth in turn, signs up and 4 bits down, no error feedback",
    swapped=FAST,
    like=FORGETFUL_TURN.name,
)


def _remedy(name: str, title: str, changed: Arm) -> Arm:
    return replace(changed, name=f"churn-{name}", title=f"churn: {title}", like=CHURN.name)


def _topk(name: str, title: str, changed: Arm) -> Arm:
    return replace(changed, name=f"topk64-{name}", title=f"top-k 64 up, {title}", like=TOPK.name)


ARMS: tuple[Arm, ...] = (
    F32,
    TOPK,
    BOTH,
    WHOLE,
    Arm("topk256", "top-k 256 up", up=topk(256), decay=0.9),
    Arm("block4", "blockwise 4 bits up", up=blockwise(4), like="f32"),
    Arm("block2", "blockwise 2 bits up", up=blockwise(2), like="f32"),
    Arm("both-block2", "blockwise 2 bits both ways", up=blockwise(2), down=blockwise(2), like="f32"),
    CHURN_F32,
    CHURN,
    KEPT,
    _remedy("last256", "last update top-k 256", replace(CHURN, last=topk(256))),
    _remedy("last1024", "last update top-k 1024", replace(CHURN, last=topk(1024))),
    replace(
        BOTH, name="churn-both", title="churn: top-k 64 up, 256 down, residual lost", swapped=FAST, like=CHURN.name
    ),
    _remedy("slow", "top-k 64 up, stays of 8 rounds, residual lost", replace(CHURN, swapped=SLOW)),
    Arm("adamw", "one machine, AdamW, batch 8", single=8),
    Arm("adamw64", "one machine, AdamW, batch 64", single=64),
    replace(F32, name="f32-fresh", title="float32 both ways, moments anew each round", moments=False, like="f32"),
    _topk("fresh", "moments anew each round", replace(TOPK, moments=False)),
    _topk("forget", "no error feedback", replace(TOPK, decay=0.0)),
    _topk("half", "residual decayed by 0.5", replace(TOPK, decay=0.5)),
    _topk("early256", "256 in the first fifth", replace(TOPK, early=topk(256))),
    _topk("early-block2", "first fifth in 2 bits", replace(TOPK, early=blockwise(2))),
    replace(TOPK, name="topk64-named", title="top-k 64 up, mean of those who name an element", named=0.0),
    replace(TOPK, name="topk64-named2", title="top-k 64 up, sum of those who name an element by two more", named=2.0),
    Arm("both256", "top-k 256 both ways", up=topk(256), down=topk(256), decay=0.9),
    Arm("both1024", "top-k 1024 both ways", up=topk(1024), down=topk(1024), decay=0.9),
    replace(F32, name="f32-36", title="float32 both ways, 10 rounds of 36 steps", stretch=3.0, like="f32"),
    _topk("4", "90 rounds of 4 steps", replace(TOPK, stretch=1 / 3)),
    SIGNS,
    SEVENTH,
    TURN,
    TURN_BOTH,
    FORGETFUL_TURN,
    CHURN_TURN,
    CHURN_FORGETFUL_TURN,
)


DEMO = replace(STANDARD, name="demo", rounds=6, present=4, every=1, targets=(5.0,))
DEMO_ARMS = ("f32", "topk64", "both", "both256", "both1024", "both-block2")
QUICK_ARMS = ("adamw", "f32", "topk64", "both", "churn-topk64", "churn-kept")


def arm_named(name: str) -> Arm:
    """The arm of that name."""
    return next(arm for arm in ARMS if arm.name == name)
