"""The result as one page of Markdown: arms beside each other, what the grid found, and the setting."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.convergence.arms import ARMS, Scale, arm_named
from benchmarks.convergence.figures import Figures, figures_of
from benchmarks.convergence.world import parameters_of

__all__ = ["all_figures", "report"]

Record = Mapping[str, Any]
REFERENCE = "f32"


def all_figures(scale: Scale, records: Sequence[Record]) -> list[Figures]:
    """Of every arm that has run at a scale, in the order of ``ARMS``; ``records`` are those of all scales."""
    reference = figures_of(arm_named(REFERENCE), scale, records)
    found = [figures_of(arm, scale, records, reference) for arm in ARMS]
    return [figures for figures in found if figures is not None]


def report(scales: Sequence[Scale], records: Sequence[Record], date: str) -> str:
    """The page.

    Args:
        scales: in the order in which they appear; those without a record do not.
        records: of all of them.
        date: ISO date that the page states.
    """
    parts = [f"# Does it learn, and for how many bytes? {date}", _machine(records)]
    for scale in scales:
        ours = [r for r in records if r["scale"] == scale.name]
        if not ours:
            continue
        parts += [
            f"## {_title(scale)}",
            _setting(scale),
            _main_table(all_figures(scale, records), scale),
            "What the grid found, seed 0:",
            _grid_table(ours),
        ]
    return "\n\n".join(parts) + "\n"


def _title(scale: Scale) -> str:
    return f"{scale.name}: {scale.rounds} rounds, inner rate {scale.rates.words()}"


def _machine(records: Sequence[Record]) -> str:
    seconds = sum(float(r["cpu_seconds"]) for r in records)
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, one used a run; Python {platform.python_version()}, torch "
        f"{torch.__version__}, numpy {np.__version__}; {seconds / 60:.0f} minutes of CPU in all."
    )


def _setting(scale: Scale) -> str:
    model = scale.model
    windows = scale.rounds * scale.present * scale.steps * scale.batch
    return (
        f"Byte model of {parameters_of(scale):,} parameters (dim {model.dim}, layers {model.layers}, hidden "
        f"{model.hidden}, context {model.context}); {scale.rounds} rounds of {scale.present} updates of {scale.steps} "
        f"inner AdamW steps ({scale.batch} windows): {windows * model.context:,} bytes of training "
        f"text in every run. Eight domains of the standard library, one for each contributor; under churn "
        f"{2 * scale.present} contributors, half a domain each, of whom {scale.present} are present in a round. "
        f"Final loss on {scale.final:,} held-out windows, the same in every run. Tuned to: lasting outer step / "
        f"outer momentum / peak of the inner learning rate. Differences are between runs of the same seed."
    )


def _main_table(figures: Sequence[Figures], scale: Scale) -> str:
    reference = next((f for f in figures if f.arm.name == REFERENCE), None)
    reach = [f"{kind} to {target:g}" for target in scale.targets for kind in ("MB up", "MB up and down")]
    lines = [
        "| arm | tuned to | seeds | bits per byte | to float32 | MB up | MB down | fewer up | fewer down | "
        + " | ".join(reach)
        + " |",
        "|---" * (9 + len(reach)) + "|",
    ]
    for f in figures:
        gap = "" if f.behind is None else f"{f.behind:+.3f}"
        gap += f" +- {f.behind_spread:.3f}" if len(f.gaps) > 1 and f is not reference else ""
        spread = f" +- {f.spread:.3f}" if len(f.runs) > 1 else ""
        tuning = _tuning(f.tuning) + ("" if f.searched else " (search not over)")
        cells = [f.arm.title, tuning, str(len(f.runs)), f"{f.final:.3f}{spread}", gap]
        if f.arm.single:
            cells += ["0", "0", "", ""] + [""] * len(reach)
        else:
            cells += [_megabytes(f.up), _megabytes(f.down)]
            cells += [f"{reference.up / f.up:.0f}x", f"{reference.down / f.down:.1f}x"] if reference else ["", ""]
            cells += [_megabytes(f.reach(t, down=down)) for t in scale.targets for down in (False, True)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _grid_table(records: Sequence[Record]) -> str:
    lines = ["| arm | bits per byte, by lasting outer step / momentum / inner learning rate |", "|---|---|"]
    for arm in ARMS:
        tried = [r for r in records if r["arm"] == arm.name and r["seed"] == 0]
        cells = []
        for r in sorted(tried, key=lambda r: tuple(r["tuning"])):
            name, last = _tuning(r["tuning"]), r["curve"][-1]
            given_up = f"given up in round {last[0]:.0f} at {last[4]:.3f}"
            cells.append(f"{name}: {given_up if r['final_bits'] is None else format(r['final_bits'], '.3f')}")
        if cells:
            taken = f" (point taken from {arm.like})" if arm.like else ""
            lines.append(f"| {arm.title}{taken} | {'; '.join(cells)} |")
    return "\n".join(lines)


def _tuning(tuning: Sequence[float]) -> str:
    return " / ".join(f"{value:g}" for value in tuning)


def _megabytes(size: float) -> str:
    if math.isinf(size):
        return "never"
    return f"{size / 1e6:.0f}" if size >= 1e8 else f"{size / 1e6:.2f}" if size >= 1e6 else f"{size / 1e6:.3f}"
