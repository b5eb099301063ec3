"""Do our robust rules agree with ByzFL's on the same updates, and where do definitions differ?

    python benchmarks/oracles_robust.py --peers PYTHON [--write]

PYTHON has byzfl installed. Both sides get the same float32 updates: honest ones around a common
change, and liars of three kinds (far away, close together beside the honest mean, one element
only). ByzFL computes in float64 on stacked updates; ours are merged by the engine, from inner
products and in float32. What is compared is the largest difference of any element beside the
largest element, over all trials, and in how many trials the rules agree (below 1e-5).
``--write`` leaves a dated file in results/.

Where the definitions differ, a row says so and another makes them the same:

- Krum: the paper and ours add the K - f - 2 nearest squared distances, ByzFL K - f - 1. ByzFL's
  score with f + 1 instead of f liars is ours, so there the choice is compared with that.
- Multi-Krum: the same, and ByzFL keeps K - f of its own f; ours keeps what ``keep`` says.
- Geometric median: ByzFL starts at 0 with an absolute floor and 3 steps, ours at the weighted
  mean with a floor relative to the median norm; both are compared when they have converged.
- Centred clipping: the same steps; ByzFL's radius is absolute, so ours is too here.
- Nearest-neighbour mixing: the same. Bucketing: by lot, so sizes of buckets and the mean of all
  buckets are compared, not the elements.

T  trials, K  updates, P  elements
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report import arguments, finish, heading
from torch import Tensor

from barnraise.updates import Piece
from merge.measure import measure_pieces
from merge.plan import MergeRules, plan_merge
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies import make_pre_aggregation, make_strategy
from merge.strategies.options import Option

TRIALS, COUNT, LIARS, ELEMENTS = 30, 16, 3, 5_000
AGREES = 1e-5
Made = tuple[str, dict[str, Option]]
Peer = tuple[str, dict[str, float | int]]


@dataclass(frozen=True)
class Case:
    """One rule, said twice.

    Attributes:
        ours: strategy and options. theirs: class and arguments. before: the same of a pre-aggregation.
    """

    name: str
    ours: Made
    theirs: Peer
    remark: str
    before: tuple[Made, Peer] | None = None


NNM: tuple[Made, Peer] = (("nnm", {"liars": LIARS}), ("NNM", {"f": LIARS}))
GEOMETRIC: Made = ("geometric-median", {"iterations": 2000, "smoothing": 1e-9})
CASES = [
    Case("mean", ("mean", {}), ("Average", {}), "the same rule"),
    Case("median", ("median", {}), ("Median", {}), "the same rule (numpy's median)"),
    Case("trimmed mean", ("trimmed-mean", {"trim": LIARS / COUNT}), ("TrMean", {"f": LIARS}), "the same rule"),
    Case("geometric median", GEOMETRIC, ("GeometricMedian", {"nu": 1e-12, "T": 400}), "both converged"),
    Case(
        "geometric median, defaults",
        ("geometric-median", {}),
        ("GeometricMedian", {}),
        "ByzFL stops after 3 steps from 0; agreement is not expected",
    ),
    Case("krum", ("krum", {"liars": LIARS}), ("Krum", {"f": LIARS + 1}), "K - f - 2 neighbours on both sides"),
    Case("krum, same f", ("krum", {"liars": LIARS}), ("Krum", {"f": LIARS}), "ByzFL counts one neighbour more"),
    Case(
        "multi-krum",
        ("multi-krum", {"liars": LIARS, "keep": COUNT - LIARS - 1}),
        ("MultiKrum", {"f": LIARS + 1}),
        "K - f - 2 neighbours and K - f - 1 kept on both sides",
    ),
    Case(
        "multi-krum, same f",
        ("multi-krum", {"liars": LIARS}),
        ("MultiKrum", {"f": LIARS}),
        "ByzFL counts one neighbour more; both keep K - f",
    ),
    Case(
        "centred clipping",
        ("centred-clipping", {"radius": 100.0, "unit": "absolute", "iterations": 1}),
        ("CenteredClipping", {"tau": 100.0, "L": 1}),
        "the same rule",
    ),
    Case(
        "centred clipping, 10 steps",
        ("centred-clipping", {"radius": 100.0, "unit": "absolute", "iterations": 10}),
        ("CenteredClipping", {"tau": 100.0, "L": 10}),
        "the same rule",
    ),
    Case("nnm + mean", ("mean", {}), ("Average", {}), "the same rule", NNM),
    Case("nnm + median", ("median", {}), ("Median", {}), "the same rule", NNM),
    Case("nnm + trimmed mean", ("trimmed-mean", {"trim": LIARS / COUNT}), ("TrMean", {"f": LIARS}), "the same", NNM),
    Case("nnm + geometric median", GEOMETRIC, ("GeometricMedian", {"nu": 1e-12, "T": 400}), "both converged", NNM),
    Case(
        "nnm + krum",
        ("krum", {"liars": LIARS}),
        ("Krum", {"f": LIARS + 1}),
        "K - f - 2 neighbours on both sides",
        NNM,
    ),
]


def updates() -> NDArray[np.float32]:
    """float32 [T, K, P]: honest updates of unequal length, and three kinds of liars in turn, at random places."""
    draws = np.random.default_rng(0)
    trials = []
    for trial in range(TRIALS):
        common_P = draws.standard_normal(ELEMENTS)
        sizes_K1 = draws.uniform(0.5, 1.5, (COUNT, 1))
        rows_KP = common_P + sizes_K1 * draws.standard_normal((COUNT, ELEMENTS))
        liars = draws.choice(COUNT, LIARS, replace=False)
        if trial % 3 == 0:
            rows_KP[liars] = 1e4 * draws.standard_normal(ELEMENTS)
        elif trial % 3 == 1:
            rows_KP[liars] = common_P - 1.5 * rows_KP.std(0) + 0.01 * draws.standard_normal((LIARS, ELEMENTS))
        else:
            rows_KP[liars, 7] += 1e4
        trials.append(rows_KP)
    return np.stack(trials).astype(np.float32)


def merge(rows: Sequence[Tensor], case: Case) -> Tensor:
    """By the engine: measure, plan, combine."""
    before = (make_pre_aggregation(*case.before[0]),) if case.before else ()
    rules = MergeRules(make_strategy(*case.ours), before=before)
    pieces = [Piece(0, 0, len(rows[0]), 0)]
    plan = plan_merge(measure_pieces(rows, pieces, magnitudes=False), [1.0] * len(rows), rules)
    return combine_segment(SegmentUpdates(rows, pieces), plan, rules)


def questions() -> list[dict[str, object]]:
    asked: list[dict[str, object]] = [
        {"name": case.name, "before": case.before[1] if case.before else None, "rule": case.theirs} for case in CASES
    ]
    return [*asked, {"name": "bucketing", "before": ["Bucketing", {"s": 3}], "rule": None}]


def ask(python: str, updates_TKP: NDArray[np.float32]) -> tuple[str, dict[str, NDArray[np.float64]]]:
    """ByzFL's version and its answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "questions.json").write_text(json.dumps(questions()))
        np.save(folder / "updates.npy", updates_TKP.astype(np.float64))
        script = Path(__file__).with_name("peers") / "byzfl_rules.py"
        files = [str(folder / file) for file in ("questions.json", "updates.npy", "answers.npz")]
        done = subprocess.run([python, str(script), *files], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"byzfl: {done.stderr[-2000:]}")
        with np.load(files[2]) as answers:
            return done.stdout.strip().splitlines()[-1], dict(answers)


def row(case: Case, updates_TKP: NDArray[np.float32], theirs_TP: NDArray[np.float64]) -> str:
    """A line of the table."""
    apart = []
    for updates_KP, theirs_P in zip(updates_TKP, theirs_TP, strict=True):
        ours_P = merge([torch.from_numpy(update_P) for update_P in updates_KP], case).double().numpy()
        apart.append(float(np.abs(ours_P - theirs_P).max() / np.abs(theirs_P).max()))
    agree = sum(one < AGREES for one in apart)
    return f"| {case.name} | {max(apart):.1e} | {np.median(apart):.1e} | {agree} of {len(apart)} | {case.remark} |"


def buckets(updates_TKP: NDArray[np.float32], theirs_TLP: NDArray[np.float64]) -> str:
    """Both deal 16 updates into buckets of 3: how many, and whether each averages updates that were given."""
    rule = make_pre_aggregation("bucketing", {"size": 3})
    ours_LK, _ = rule.mix(torch.eye(COUNT, dtype=torch.float64), torch.ones(COUNT, dtype=torch.float64), 0)
    ours = sorted((ours_LK > 0).sum(1).tolist())
    sizes = []
    for theirs_P in theirs_TLP[1]:
        factors_K = np.linalg.lstsq(updates_TKP[1].T.astype(np.float64), theirs_P, rcond=None)[0]
        sizes.append(int((factors_K > 0.01).sum()))
    apart = 0.0
    for updates_KP, theirs_LP in zip(updates_TKP, theirs_TLP, strict=True):
        weighed_P = (theirs_LP * np.array([[3.0]] * 5 + [[1.0]])).sum(0) / COUNT
        apart = max(apart, float(np.abs(weighed_P - updates_KP.mean(0, dtype=np.float64)).max()))
    return (
        f"Bucketing, 16 updates in buckets of 3: sizes of ours {ours}, of ByzFL's {sorted(sizes)}. The mean of "
        f"ByzFL's\nbuckets, weighed by size, is the mean of all within {apart:.1e}, as ours is by construction."
    )


def page(python: str) -> list[str]:
    updates_TKP = updates()
    version, answers = ask(python, updates_TKP)
    return [
        *heading("Our robust rules beside ByzFL's", "torch", peer=version),
        f"{TRIALS} trials of {COUNT} updates with {LIARS} liars, {ELEMENTS:,} float32 elements each; ByzFL computes in "
        "float64.",
        "",
        "Largest difference of an element beside the largest element; a trial agrees below 1e-5.",
        "",
        "| rule | worst trial | median trial | trials that agree | remark |",
        "|---|---|---|---|---|",
        *(row(case, updates_TKP, answers[case.name]) for case in CASES),
        "",
        buckets(updates_TKP, answers["bucketing"]),
    ]


def main() -> None:
    chosen = arguments(__doc__, peers="a Python with byzfl installed").parse_args()
    if chosen.peers is None:
        print("byzfl: not measured; say --peers PYTHON")
        return
    finish("oracles_robust", page(chosen.peers), write=chosen.write)


if __name__ == "__main__":
    main()
