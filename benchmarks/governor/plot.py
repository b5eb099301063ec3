"""The picture: slowdown of the owner's job, and steps of the node, for every arm."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["draw"]

COLOURS = {"nice": "#d55e00", "idle": "#999999", "learned": "#0072b2"}
LABELS = {"nice": "nice 19", "idle": "idle, on/off", "learned": "learned, target 5%"}


def draw(figures: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], path: Path, title: str) -> None:
    """Two panels as a PNG at ``path``: bars are medians, dots are rounds.

    Args:
        figures: job -> arm -> slowdowns in percent, and steps a minute.
    """
    if importlib.util.find_spec("matplotlib") is None:
        print(f"{path.name} is not drawn: it needs matplotlib")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    jobs = list(figures)
    chart, panels = plt.subplots(2, 1, figsize=(3 + 1.1 * len(jobs), 7), layout="constrained", sharex=True)
    for which, axes in enumerate(panels):
        for place, (arm, colour) in enumerate(COLOURS.items()):
            at = [index + 0.26 * (place - 1) for index in range(len(jobs))]
            values = [figures[job][arm][which] for job in jobs]
            axes.bar(at, [statistics.median(v) for v in values], 0.24, color=colour, label=LABELS[arm])
            for x, dots in zip(at, values, strict=True):
                if len(dots) > 1:
                    axes.plot([x] * len(dots), dots, ".", color="black", markersize=4)
        axes.spines[["top", "right"]].set_visible(False)
    slow, steps = panels
    slow.set_title(title, fontsize=10)
    slow.axhline(5, color="#0072b2", linestyle="--", linewidth=1)
    slow.set_ylabel("slowdown of the owner's job, %")
    steps.set_ylabel("steps of the node a minute")
    steps.set_xticks(range(len(jobs)), jobs, fontsize=8)
    slow.legend(frameon=False)
    chart.savefig(path, dpi=110)
    plt.close(chart)
