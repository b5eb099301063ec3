"""How many examples does a test in batches save, and how often is it wrong?

    python benchmarks/sequential.py [--quick] [--write]

Simulated suites with one test, where the truth is known. For each kind of data the test in batches
gets as many examples as it needs to accept a candidate without effect 9 times of 10, found on runs
of their own. Beside it stands the test of fixed size that accepts that candidate just as often: the
score test for right and wrong, sign flips for bits a byte, both as in coordinator/acceptance.

A case is clear when the candidate is 3 margins away from what must be refuted: better by 2 margins
(the test refutes "worse by 1"), or worse by 3 (it refutes "no worse"). Goals: at the margin at most
alpha accepted; at no effect at most 1 - power rejected; clear cases with a third of the examples.

R  runs
N  examples
D  sign flips
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import arguments, finish, heading

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from coordinator.acceptance.metric import BITS_PER_BYTE, SHARE, Metric
from coordinator.acceptance.statistics.proportions import paired_drop
from coordinator.acceptance.statistics.sequential import SequentialTest, reach_of
from sequential_runs import AT_ONCE, Draw, answers, disasters, heavy_tails, simulate, skewed

MARGIN = 0.05
ALPHA = BETA = 0.05
POWER = 0.9
RUNS, PLANNING_RUNS, FLIPS = 10_000, 4_000, 1_999
EFFECTS = (-3, -2, -1, 0, 1, 2, 3, 4)
CLEAR = (-2, 3)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    name: str
    metric: Metric
    draw: Draw


SETTINGS = (
    Setting("right or wrong, 4% differ", SHARE, answers(0.04)),
    Setting("right or wrong, 10% differ", SHARE, answers(0.10)),
    Setting("right or wrong, 20% differ", SHARE, answers(0.20)),
    Setting("bits a byte, heavy tails, spread 2 margins", BITS_PER_BYTE, heavy_tails(2 * MARGIN)),
    Setting("bits a byte, heavy tails, spread 4 margins", BITS_PER_BYTE, heavy_tails(4 * MARGIN)),
    Setting("bits a byte, skewed, spread 3 margins", BITS_PER_BYTE, skewed(3 * MARGIN)),
)
BEYOND = Setting("2% of examples lose 4 bits a byte", BITS_PER_BYTE, disasters(0.02, 80 * MARGIN))


@dataclass(frozen=True)
class Row:
    """One truth: shares of all runs, and examples."""

    effect: int
    accepted: float
    on_evidence: float
    n: float
    fixed_accepted: float


def main() -> int:
    chosen = arguments(__doc__, quick="500 runs instead of 10,000").parse_args()
    runs, planning = (500, 500) if chosen.quick else (RUNS, PLANNING_RUNS)
    began = time.monotonic()
    lines = heading("Examples that a test in batches saves", "numpy")
    lines += [
        f"`benchmarks/sequential.py`: {runs:,} runs a row, margin {MARGIN}, alpha {ALPHA}, beta {BETA}, batches of 8, "
        f"power {POWER}. Effects in margins, above 0 is worse. *On evidence*: rejected before the examples ran out. "
        "*Fewer*: examples of the fixed test for one of ours.",
        "",
    ]
    found = {setting: measure(setting, runs, planning) for setting in SETTINGS}
    for setting, (test, fixed, rows) in found.items():
        lines += table(setting, test, fixed, rows)
    few = found[SETTINGS[3]]
    lines += goals(found, runs) + outside(few[0], few[1], runs)
    lines += [f"{time.monotonic() - began:,.0f} s."]
    finish("sequential", lines, write=chosen.write)
    return 0


def measure(setting: Setting, runs: int, planning: int) -> tuple[SequentialTest, int, list[Row]]:
    """The test in batches, the examples of the fixed one, and what both say of each effect."""
    test = plan(setting, planning)
    ours = simulate(test, setting.draw, 0.0, runs, seed=3)
    fixed = fixed_size(setting, float(ours.accepted.mean()), 4 * test.largest, planning)
    rows = []
    for effect in EFFECTS:
        seen = simulate(test, setting.draw, effect * MARGIN, runs, seed=10 + effect)
        accepted = float(fixed_accepts(setting, fixed, effect * MARGIN, runs, seed=30 + effect).mean())
        rows.append(
            Row(effect, float(seen.accepted.mean()), float(seen.on_evidence.mean()), float(seen.n.mean()), accepted)
        )
    return test, fixed, rows


def plan(setting: Setting, runs: int) -> SequentialTest:
    """The smallest test in batches that accepts what has no effect often enough, with room for chance."""
    enough = POWER + 2 * math.sqrt(POWER * (1 - POWER) / runs)
    largest = 16
    while True:
        test = SequentialTest(MARGIN, reach_of(setting.metric, MARGIN), largest, ALPHA, BETA)
        if simulate(test, setting.draw, 0.0, runs, seed=1).accepted.mean() >= enough:
            return test
        largest = math.ceil(largest * 1.1)


def fixed_size(setting: Setting, power: float, most: int, runs: int) -> int:
    """Examples with which the fixed test accepts what has no effect that often."""
    low, high = 2, most
    while high - low > 1:
        middle = (low + high) // 2
        if fixed_accepts(setting, middle, 0.0, runs, seed=2).mean() >= power:
            high = middle
        else:
            low = middle
    return high


def fixed_accepts(setting: Setting, size: int, mean: float, runs: int, seed: int) -> NDArray[np.bool_]:
    """Whether the test of fixed size rules out the margin, bool [R]."""
    random = np.random.default_rng(seed)
    worsening_RN = setting.draw(random, (runs, size), mean)
    if setting.metric.binary:
        return np.array(
            [
                score_test(lost, gained, size) <= ALPHA
                for lost, gained in zip(
                    (worsening_RN > 0).sum(axis=1).tolist(), (worsening_RN < 0).sum(axis=1).tolist(), strict=True
                )
            ]
        )
    signs_DN = random.integers(0, 2, (FLIPS, size)) * 2.0 - 1.0  # the same ones for all runs
    passes = []
    for start in range(0, runs, AT_ONCE):
        values_RN = worsening_RN[start : start + AT_ONCE] - MARGIN
        as_low_R = np.count_nonzero(values_RN @ signs_DN.T <= values_RN.sum(axis=1, keepdims=True) + 1e-9, axis=1)
        passes.append((1 + as_low_R) / (FLIPS + 1) <= ALPHA)
    return np.concatenate(passes)


@cache
def score_test(lost: int, gained: int, size: int) -> float:
    return paired_drop(lost, gained, size, MARGIN)


def table(setting: Setting, test: SequentialTest, fixed: int, rows: list[Row]) -> list[str]:
    return [
        f"## {setting.name}",
        "",
        f"At most {test.largest} examples, each counts for {test.reach:g} at most, {len(test.stakes)} stakes; "
        f"the fixed test looks at {fixed}.",
        "",
        "| effect | accepted | rejected | on evidence | examples | fixed: accepted | fewer |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row.effect:+d}{' (clear)' if row.effect in CLEAR else ''} | {row.accepted:.4f} | "
            f"{1 - row.accepted:.4f} | {row.on_evidence:.4f} | {row.n:.1f} | {row.fixed_accepted:.4f} | "
            f"{fixed / row.n:.1f} |"
            for row in rows
        ),
        "",
    ]


def goals(found: dict[Setting, tuple[SequentialTest, int, list[Row]]], runs: int) -> list[str]:
    """What was asked for, beside what came out."""
    lines = [
        "## Goals",
        "",
        f"Chance alone moves a rate of 5% by {2 * error(ALPHA, runs):.4f} (two standard errors).",
        "",
    ]
    lines += [
        "| data | accepted at the margin, <= 0.05 | rejected on evidence at no effect, <= 0.05 "
        "| rejected at no effect, <= 0.10 | fewer examples when clear, >= 3 |",
        "|---|---:|---:|---:|---:|",
    ]
    ratios = []
    for setting, (_, fixed, rows) in found.items():
        at = {row.effect: row for row in rows}
        clear = [fixed / at[effect].n for effect in CLEAR]
        ratios += clear
        lines.append(
            f"| {setting.name} | {at[1].accepted:.4f} | {at[0].on_evidence:.4f} | {1 - at[0].accepted:.4f} "
            f"| {clear[0]:.1f} (better), {clear[1]:.1f} (worse) |"
        )
    mean = math.exp(float(np.mean(np.log(ratios))))
    met = sum(ratio >= 3 for ratio in ratios)
    return [
        *lines,
        "",
        f"Fewer examples when clear: {mean:.1f} times (geometric mean); 3 or more in {met} of {len(ratios)} cases.",
        "",
    ]


def outside(test: SequentialTest, fixed: int, runs: int) -> list[str]:
    """What neither test guards against, with the sizes of another setting."""
    mean = MARGIN
    seen = simulate(test, BEYOND.draw, mean, runs, seed=50)
    there = fixed_accepts(BEYOND, fixed, mean, runs, seed=51)
    return [
        "## Beyond the reach",
        "",
        f"{BEYOND.name}, the others gain a little, so that the mean is worse by exactly the margin: the test in "
        f"batches of at most {test.largest} accepts {seen.accepted.mean():.4f} after {seen.n.mean():.1f} examples, the "
        f"fixed one of {fixed} accepts {there.mean():.4f}. Neither guards against disasters too rare to be seen.",
        "",
    ]


def error(rate: float, runs: int) -> float:
    return math.sqrt(rate * (1 - rate) / runs)


if __name__ == "__main__":
    sys.exit(main())
