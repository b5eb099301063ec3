"""The picture: slowdown of the owner's job, and steps of the node, for every arm."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["draw"]

COLOURS = {"nice": "#d55e00", "idle": "#999999", "learned": "#0072b2", "both": "#56b4e9"}
LABELS = {"nice": "nice 19", "idle": "idle, on/off", "learned": "learned, 5%", "both": "learned and nice"}


def draw(turns: Sequence[dict[str, Any]], path: Path) -> None:
    """Two panels as a PNG at ``path``: bars are medians, dots are rounds."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"{path.name} is not drawn: it needs matplotlib")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    jobs = list(dict.fromkeys(turn["job"] for turn in turns))
    chart, (slow, steps) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    alone = {(turn["job"], turn["number"]): turn["rate"] for turn in turns if turn["arm"] == "alone"}
    for place, arm in enumerate(COLOURS):
        mine = {job: [turn for turn in turns if (turn["job"], turn["arm"]) == (job, arm)] for job in jobs}
        slowed = [[100 * (alone[job, turn["number"]] / turn["rate"] - 1) for turn in mine[job]] for job in jobs]
        done = [[turn["steps_per_min"] for turn in mine[job]] for job in jobs]
        for axes, values in ((slow, slowed), (steps, done)):
            at = [index + 0.2 * (place - 1.5) for index in range(len(jobs))]
            axes.bar(at, [statistics.median(v) for v in values], 0.18, color=COLOURS[arm], label=LABELS[arm])
            for x, dots in zip(at, values, strict=True):
                axes.plot([x] * len(dots), dots, ".", color="black", markersize=4)
    slow.axhline(5, color="#0072b2", linestyle="--", linewidth=1)
    slow.set_ylabel("slowdown of the owner's job, %")
    steps.set_ylabel("steps of the node a minute")
    for axes in (slow, steps):
        axes.set_xticks(range(len(jobs)), jobs)
        axes.spines[["top", "right"]].set_visible(False)
    slow.legend(frameon=False)
    chart.savefig(path, dpi=110)
    plt.close(chart)
