"""The picture: loss against bytes sent and fetched, without and with churn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.convergence.figures import Figures, mean_curve

__all__ = ["draw"]

PANELS = (
    ("Everybody stays", ("f32", "block4", "block2", "topk256", "topk64", "both")),
    (
        "Half of them absent, a stay of two rounds",
        ("churn-f32", "churn-topk256", "churn-topk64", "churn-kept", "churn-last1024", "churn-both"),
    ),
)
COLOURS = ("#1b1b1b", "#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7")


def draw(figures: Sequence[Figures], path: Path) -> None:
    """Two panels that share their loss axis, as a PNG at ``path``."""
    known = {f.arm.name: f for f in figures}
    chart, panels = plt.subplots(1, 2, figsize=(13, 5.4), sharey=True, layout="constrained")
    for axes, (title, names) in zip(panels, PANELS, strict=True):
        for name, colour in zip(names, COLOURS, strict=True):
            if name in known:
                _line(axes, known[name], colour)
        if "adamw" in known:
            floor = known["adamw"].final
            axes.axhline(floor, color="#777777", linewidth=1, linestyle=":")
            axes.annotate("one machine, AdamW, same tokens", (0.01, floor), xycoords=("axes fraction", "data"),
                          xytext=(0, 3), textcoords="offset points", fontsize=8, color="#555555")  # fmt: skip
        axes.set(xscale="log", xlabel="bytes sent up and fetched down, all contributors", title=title)
        axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False, loc="upper right")
    panels[0].set_ylabel("bits per byte, held out (mean of seeds)")
    chart.savefig(path, dpi=130)
    plt.close(chart)


def _line(axes: Axes, figures: Figures, colour: str) -> None:
    curve = [point for point in mean_curve(figures) if point[0] > 0]
    sizes = [point[2] + point[3] for point in curve]
    title = figures.arm.title.removeprefix("churn: ")
    label = f"{title}: {figures.final:.2f}"
    axes.plot(sizes, [point[4] for point in curve], color=colour, linewidth=1.6, marker="o", markersize=3, label=label)
    for run in figures.runs.values():
        points = [p for p in run["curve"] if p[0] > 0]
        axes.plot([p[2] + p[3] for p in points], [p[4] for p in points], color=colour, linewidth=0.6, alpha=0.35)
