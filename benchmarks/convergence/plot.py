"""The picture: loss against bytes, without and with churn, for every length and schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.convergence.arms import Scale
from benchmarks.convergence.figures import Curve, Figures, mean_curve

__all__ = ["draw"]

PANELS = (
    (
        "everybody stays: bytes up",
        False,
        ("f32", "block4", "block2", "topk256", "topk64", "both", "turn7", "turn8-both"),
    ),
    ("everybody stays: bytes up and down", True, ("f32", "both-block2", "both256", "both", "turn8-both")),
    (
        "half of 16 present, stays of two rounds: bytes up",
        False,
        ("churn-f32", "churn-topk64", "churn-kept", "churn-last1024"),
    ),
)
COLOURS = {
    "f32": "#1b1b1b",
    "block4": "#999999",
    "block2": "#0072b2",
    "both-block2": "#56b4e9",
    "both256": "#e69f00",
    "turn7": "#8c564b",
    "turn8-both": "#5e3c99",
    "topk256": "#009e73",
    "topk64": "#d55e00",
    "both": "#cc79a7",
    "last1024": "#e69f00",
    "kept": "#009e73",
}


def draw(found: Sequence[tuple[Scale, Sequence[Figures]]], path: Path) -> None:
    """A row of panels for every scale, as a PNG at ``path``; panels without a line are left empty."""
    size = (17, 5.6 * len(found))
    chart, rows = plt.subplots(
        len(found), len(PANELS), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for row, (scale, figures) in zip(rows, found, strict=True):
        known = {f.arm.name: f for f in figures}
        row[0].set_ylabel("bits per byte, held out (mean of seeds)")
        for axes, (title, down, names) in zip(row, PANELS, strict=True):
            drawn = [known[name] for name in names if name in known]
            if not drawn:
                axes.axis("off")
                continue
            for one in drawn:
                _line(axes, one, down=down)
            _dress(axes, f"{scale.rounds} rounds ({scale.name}), {title}", known.get("adamw64"))
    chart.savefig(path, dpi=110)
    plt.close(chart)


def _dress(axes: Axes, title: str, alone: Figures | None) -> None:
    """Axes, grid and legend; the loss of one machine ``alone`` as a level."""
    if alone is not None:
        axes.axhline(alone.final, color="#777777", linewidth=1, linestyle=":")
        text = "one machine, AdamW, batches as large, the same tokens"
        place = axes.get_yaxis_transform()
        axes.text(0.01, alone.final + 0.03, text, transform=place, fontsize=8, color="#555555")
    axes.set(xscale="log", xlabel="bytes, all contributors together")
    axes.set_title(title, fontsize=9)
    axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper right", title="final bits per byte", title_fontsize=8)


def _line(axes: Axes, figures: Figures, *, down: bool) -> None:
    """The mean of the seeds, and each of them thin behind it."""
    name = figures.arm.name
    colour = COLOURS[name.removeprefix("churn-")]
    label = f"{figures.arm.title.removeprefix('churn: ')}: {figures.final:.2f}"
    sizes, losses = _line_of(mean_curve(figures), down=down)
    axes.plot(sizes, losses, color=colour, linewidth=1.6, marker="o", markersize=2.5, label=label)
    for run in figures.runs.values():
        axes.plot(*_line_of(run["curve"], down=down), color=colour, linewidth=0.6, alpha=0.35)


def _line_of(curve: Curve, *, down: bool) -> tuple[list[float], list[float]]:
    """Bytes and loss of every point after the start, which has no place on a logarithmic axis."""
    later = [point for point in curve if point[0] > 0]
    return [point[2] + (point[3] if down else 0) for point in later], [point[4] for point in later]
