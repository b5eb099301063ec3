"""What does a contributor gain who asks a thousand times, and fits what it sends to the answers?

    python -m benchmarks.adaptive [--quick] [--write]

Nothing can be learnt here: labels are coins, and every change of the model does harm on average. So
all that an attack seems to gain is the hidden examples' own noise, fitted. Every row shows what the test
would report of the attack's last submission (over all examples that it was scored on), what it does on
examples nobody saw, and the difference: what it gained.

Four attacks, each with 1,000 questions:

    vote         labels: random answers, then the vote of those that scored above a half and against those below
    climb        labels: flip some at random, keep what looks better
    reconstruct  loss: random steps, then least squares for the gradient on the hidden examples, and one jump
    climb        loss: a random step, keep what looks better

against seven ways to answer: a public shard; one fixed hidden shard with exact answers, with rounded answers and
with the ladder; all that is hidden, every time; a fresh draw for every question with rounded answers; and that
with a budget of uses. A climber
tries several step sizes and is given the best for it, so no defence looks good because an attack is badly set.

Q  questions        T  trials        N  examples in the pool        D  directions in which the model can move

Source: the vote is the boosting attack of Blum & Hardt 2015, https://arxiv.org/abs/1502.04585.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import arguments, finish, heading
from coordinator.acceptance.hidden.feedback import answers_of, resolution
from coordinator.acceptance.hidden.uses import Leak, expected_bias, uses_allowed

__all__ = [
    "ARMS",
    "QUICK",
    "Arm",
    "Attack",
    "Outcome",
    "Setting",
    "climb_labels",
    "climb_loss",
    "main",
    "reconstruct",
    "vote",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """How large the experiment is.

    Attributes:
        questions: that the attack has. trials: repetitions. pool: hidden examples. drawn: behind one answer, and in
            a fixed shard. directions: in which the model can move. spread: of one example's loss for a step of
            length 1. bend: how fast moving does harm: ``bend * length^2 / 2``. error: that the budget is made for,
            as a share of ``spread``.
    """

    questions: int = 1_000
    trials: int = 40
    pool: int = 4_096
    drawn: int = 256
    directions: int = 32
    spread: float = 0.15
    bend: float = 0.02
    error: float = 0.1


QUICK = Setting(questions=300, trials=12, pool=1_024, drawn=64)


@dataclass(frozen=True)
class Arm:
    """A way to answer.

    Attributes:
        public: the examples are known. whole: the fixed shard is the whole pool, so an answer costs as many times more.
        fresh: every answer has a draw of its own. rounds: answers are rounded. ladder: only improvements by a step
        are shown. budget: no answers when uses are up.
    """

    name: str
    public: bool = False
    whole: bool = False
    fresh: bool = False
    rounds: bool = False
    ladder: bool = False
    budget: bool = False


ARMS = (
    Arm("public shard, exact", public=True),
    Arm("fixed hidden shard, exact"),
    Arm("fixed hidden shard, rounded", rounds=True),
    Arm("fixed hidden shard, ladder", ladder=True),
    Arm("the whole hidden pool every time, rounded", whole=True, rounds=True),
    Arm("fresh hidden draws, rounded", fresh=True, rounds=True),
    Arm("fresh hidden draws, rounded, budget", fresh=True, rounds=True, budget=True),
)


@dataclass(frozen=True)
class Outcome:
    """Of one attack on one arm: arrays over trials. ``answered``: questions that got an answer."""

    apparent: Array
    true: Array
    answered: int

    @property
    def gained(self) -> Array:
        return self.apparent - self.true


Attack = Callable[[Arm, Setting, np.random.Generator], Outcome]


def answered(arm: Arm, setting: Setting, spread: float) -> int:
    """How many questions get an answer."""
    if not arm.budget:
        return setting.questions
    leak = leak_of(setting, spread)
    allowed = uses_allowed(leak, setting.error * spread)
    return min(setting.questions, allowed * setting.pool // setting.drawn)


def leak_of(setting: Setting, spread: float) -> Leak:
    """What the budget assumes: answers within three standard errors, rounded to one."""
    step = resolution(spread, setting.drawn)
    span = 6 * spread / np.sqrt(setting.drawn)
    return Leak(setting.pool, setting.drawn, spread, answers_of(float(span), step))


def shown(arm: Arm, setting: Setting, scores: Array, spread: float) -> Array:
    """What goes out of scores, the ladder apart."""
    step = resolution(spread, setting.drawn)
    return np.round(scores / step) * step if arm.rounds or arm.ladder else scores


def scored_on(arm: Arm, setting: Setting) -> int:
    """Examples that an attack may have been scored on."""
    return setting.pool if arm.fresh else setting.drawn


# Labels.


def vote(arm: Arm, setting: Setting, random: np.random.Generator) -> Outcome:
    """Random answers, weighed by whether they scored above a half."""
    count, asked = scored_on(arm, setting), answered(arm, setting, 0.5)
    apparent, true = np.empty(setting.trials), np.empty(setting.trials)
    for trial in range(setting.trials):
        signs_QN = random.integers(0, 2, (asked, 2 * count), dtype=np.int8) * np.int8(2) - np.int8(1)
        labels_N = random.integers(0, 2, 2 * count) * 2 - 1
        right_QN = (signs_QN[:, :count] == labels_N[:count]).astype(np.float32)
        if arm.fresh:
            draws = [random.choice(count, setting.drawn, replace=False) for _ in range(asked)]
            scores_Q = np.array([row_N[places].mean() for row_N, places in zip(right_QN, draws, strict=True)])
        else:
            scores_Q = right_QN.mean(axis=1)
        seen_Q = shown(arm, setting, scores_Q - 0.5, 0.5)
        if arm.ladder:  # what is shown of a question that does not beat the best so far says nothing
            seen_Q = np.where(_beats(-seen_Q, resolution(0.5, setting.drawn)), seen_Q, 0.0)
        answer_N = np.sign(np.sign(seen_Q) @ signs_QN.astype(np.float32))
        answer_N = labels_N * (np.arange(2 * count) < count) if arm.public else answer_N
        answer_N = np.where(answer_N == 0, random.integers(0, 2, 2 * count) * 2 - 1, answer_N)
        hits_N = answer_N == labels_N
        apparent[trial], true[trial] = hits_N[:count].mean(), hits_N[count:].mean()
    return Outcome(apparent, true, asked)


def climb_labels(arm: Arm, setting: Setting, random: np.random.Generator) -> Outcome:
    """Flip some labels, keep what looks better; the best of three shares to flip."""
    return _best([_climb_labels(arm, setting, random, share) for share in (0.01, 0.05, 0.3)])


def _climb_labels(arm: Arm, setting: Setting, random: np.random.Generator, share: float) -> Outcome:
    count, asked = scored_on(arm, setting), answered(arm, setting, 0.5)
    right_TN = random.random((setting.trials, 2 * count), dtype=np.float32) < 0.5
    if arm.public:
        right_TN[:, :count] = True
    best_T = shown(arm, setting, -_share_right(arm, setting, right_TN, random), 0.5)
    for _ in range(0 if arm.public else asked):
        tried_TN = right_TN ^ (random.random(right_TN.shape, dtype=np.float32) < share)
        seen_T = -_share_right(arm, setting, tried_TN, random)
        best_T, kept_T = _keep(arm, setting, best_T, seen_T, 0.5)
        right_TN = np.where(kept_T[:, None], tried_TN, right_TN)
    return Outcome(right_TN[:, :count].mean(axis=1), right_TN[:, count:].mean(axis=1), asked)


def _share_right(arm: Arm, setting: Setting, right_TN: NDArray[np.bool_], random: np.random.Generator) -> Array:
    if not arm.fresh:
        return right_TN[:, : setting.drawn].mean(axis=1)
    places = random.choice(setting.pool, setting.drawn, replace=False)
    return right_TN[:, places].mean(axis=1)


# Loss.


def reconstruct(arm: Arm, setting: Setting, random: np.random.Generator) -> Outcome:
    """Random steps of length 1; least squares for the gradient that is behind the answers; one jump to its best."""
    asked = answered(arm, setting, setting.spread)
    gradients_TND = _gradients(arm, setting, random)
    jumps = []
    for gradients_ND in gradients_TND:
        if arm.public:
            jumps.append(-gradients_ND.mean(axis=0) / setting.bend)
            continue
        steps_QD = _units(random.normal(size=(asked, setting.directions)))
        if arm.fresh:
            draws = [random.choice(setting.pool, setting.drawn, replace=False) for _ in range(asked)]
            means_QD = np.stack([gradients_ND[places].mean(axis=0) for places in draws])
        else:
            means_QD = np.broadcast_to(gradients_ND.mean(axis=0), steps_QD.shape)
        scores_Q = (means_QD * steps_QD).sum(axis=1) + setting.bend / 2
        seen_Q = shown(arm, setting, scores_Q, setting.spread)
        if arm.ladder:
            told_Q = _beats(seen_Q, resolution(setting.spread, setting.drawn))
            steps_QD, seen_Q = steps_QD[told_Q], seen_Q[told_Q]
        least_D, *_ = np.linalg.lstsq(steps_QD, seen_Q - setting.bend / 2, rcond=None)
        jumps.append(-least_D / setting.bend * _trusted(len(seen_Q), arm, setting))
    return _judged(gradients_TND, np.stack(jumps), setting, asked)


def _trusted(told: int, arm: Arm, setting: Setting) -> float:
    """How far an attacker who knows the noise jumps: all the way with exact answers, less the more is noise."""
    own = setting.spread**2 / scored_on(arm, setting)
    noise = setting.spread**2 / setting.drawn if arm.fresh else 0.0
    if arm.rounds or arm.ladder:
        noise += resolution(setting.spread, setting.drawn) ** 2 / 12
    return own / (own + noise * setting.directions / max(told, 1))


def climb_loss(arm: Arm, setting: Setting, random: np.random.Generator) -> Outcome:
    """A random step, keep what looks better; the best of three lengths."""
    return _best([_climb_loss(arm, setting, random, length) for length in (0.1, 0.3, 1.0)])


def _climb_loss(arm: Arm, setting: Setting, random: np.random.Generator, length: float) -> Outcome:
    asked = answered(arm, setting, setting.spread)
    gradients_TND = _gradients(arm, setting, random)
    at_TD = np.zeros((setting.trials, setting.directions))
    if arm.public:
        at_TD = -gradients_TND.mean(axis=1) / setting.bend
    best_T, means_TD = np.zeros(setting.trials), gradients_TND.mean(axis=1)
    for _ in range(0 if arm.public else asked):
        tried_TD = at_TD + length * _units(random.normal(size=at_TD.shape))
        if arm.fresh:
            means_TD = gradients_TND[:, random.choice(setting.pool, setting.drawn, replace=False)].mean(axis=1)
        seen_T = _change(means_TD, tried_TD, setting)
        best_T, kept_T = _keep(arm, setting, best_T, seen_T, setting.spread)
        at_TD = np.where(kept_T[:, None], tried_TD, at_TD)
    return _judged(gradients_TND, at_TD, setting, asked)


def _gradients(arm: Arm, setting: Setting, random: np.random.Generator) -> Array:
    """Of every example the gradient of its loss; their mean over all examples there could be is zero."""
    return setting.spread * random.normal(size=(setting.trials, scored_on(arm, setting), setting.directions))


def _change(means_TD: Array, at_TD: Array, setting: Setting) -> Array:
    """Mean change of the loss at ``at_TD``, given the mean gradients of the examples."""
    bent_T = setting.bend / 2 * (at_TD**2).sum(axis=1)
    return (means_TD * at_TD).sum(axis=1) + bent_T


def _judged(gradients_TND: Array, at_TD: Array, setting: Setting, asked: int) -> Outcome:
    """Gains in bits per byte: minus the change of the loss, on the examples and truly."""
    true_T = setting.bend / 2 * (at_TD**2).sum(axis=1)
    return Outcome(-_change(gradients_TND.mean(axis=1), at_TD, setting), -true_T, asked)


def _units(steps: Array) -> Array:
    return steps / np.linalg.norm(steps, axis=-1, keepdims=True)


# What attacks have in common.


def _keep(arm: Arm, setting: Setting, best_T: Array, seen_T: Array, spread: float) -> tuple[Array, NDArray[np.bool_]]:
    """Which tries look better than the best so far, given what is shown of them; lower is better."""
    step = resolution(spread, setting.drawn)
    kept_T = seen_T < best_T - step if arm.ladder else shown(arm, setting, seen_T, spread) < best_T - 1e-12
    return np.where(kept_T, shown(arm, setting, seen_T, spread), best_T), kept_T


def _beats(losses_Q: Array, step: float) -> NDArray[np.bool_]:
    """Which of the answers the ladder moves at; it begins at the first."""
    told_Q, best = np.zeros(len(losses_Q), dtype=bool), np.inf
    for index, loss in enumerate(losses_Q):
        if loss < best - step:
            told_Q[index], best = True, loss
    return told_Q


def _best(outcomes: list[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: float(outcome.gained.mean()))


# The report.

ATTACKS: dict[str, tuple[Attack, str]] = {
    "vote": (vote, "labels, share right"),
    "climb": (climb_labels, "labels, share right"),
    "reconstruct": (reconstruct, "loss, bits/byte gained"),
    "climb ": (climb_loss, "loss, bits/byte gained"),
}


def report(setting: Setting) -> list[str]:
    """Markdown, a table an attack."""
    lines = []
    for name, (attack, unit) in ATTACKS.items():
        lines += [f"## {name.strip()}: {unit}", "", "| what is scored | answers | apparent | true | gained |"]
        lines.append("|---|---:|---:|---:|---:|")
        for arm in ARMS:
            each = replace(setting, drawn=setting.pool) if arm.whole else setting
            found = attack(arm, each, np.random.default_rng([1, len(lines)]))
            cells = [f"{values.mean():+.3f}" for values in (found.apparent, found.true)]
            gained = f"**{found.gained.mean():+.3f}** +- {found.gained.std(ddof=1) / np.sqrt(setting.trials):.3f}"
            lines.append(f"| {arm.name} | {0 if arm.public else found.answered:,} | {' | '.join(cells)} | {gained} |")
        lines.append("")
    return lines


def main() -> None:
    chosen = arguments(__doc__, quick="fewer questions and a smaller pool").parse_args()
    setting = QUICK if chosen.quick else Setting()
    began = time.process_time()
    lines = heading("What an adaptive contributor gains", "numpy")
    lines += [*asked(setting), *report(setting), f"{time.process_time() - began:.0f} s of one core."]
    finish("adaptive", lines, write=chosen.write)


def asked(setting: Setting) -> list[str]:
    """What was asked, and what the budget's theory says."""
    theory = []
    for what, spread in (("labels", 0.5), ("loss", setting.spread)):
        leak = leak_of(setting, spread)
        allowed = uses_allowed(leak, setting.error * spread)
        uses = setting.questions * setting.drawn / setting.pool
        theory.append(
            f"- {what}: {leak.answers} different answers, wanted error {setting.error * spread:g}: {allowed} use(s) an "
            f"example. Without a budget: {uses:.0f} uses, and the bound is {expected_bias(leak, uses):.2g}."
        )
    return [
        f"{setting.questions:,} questions, {setting.trials} trials (+- is the standard error of their mean), "
        f"{setting.drawn} examples an answer, {setting.pool:,} in the pool;",
        f"{setting.directions} directions, spread {setting.spread:g}, bend {setting.bend:g}. "
        "In truth nothing is better than 0.5 right and 0 bits gained.",
        "",
        *theory,
        "",
    ]


if __name__ == "__main__":
    main()
