"""The picture: loss against bytes, without and with churn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.convergence.figures import Curve, Figures, mean_curve

__all__ = ["draw"]

PANELS = (
    (
        "Everybody stays: bytes up",
        False,
        (
            "f32",
            "block4",
            "block2",
            "turn1",
            "topk256",
            "topk64",
            "both",
            "f32-moments",
            "topk64-moments",
            "both-moments",
        ),
    ),
    ("Everybody stays: bytes up and down", True, ("f32", "both", "f32-moments", "both-moments")),
    (
        "Half of 16 present, a stay of two rounds: bytes up",
        False,
        ("churn-f32", "churn-topk64", "churn-kept", "churn-last1024", "churn-kept-moments"),
    ),
)
COLOURS = {
    "f32": "#1b1b1b",
    "block4": "#999999",
    "block2": "#0072b2",
    "turn1": "#56b4e9",
    "topk256": "#009e73",
    "topk64": "#d55e00",
    "both": "#cc79a7",
    "last1024": "#e69f00",
    "kept": "#009e73",
}
DASHED = "-moments"  # what differs from the line of the same colour: AdamW's moments are kept


def draw(figures: Sequence[Figures], path: Path) -> None:
    """Panels that share their axes, as a PNG at ``path``."""
    known = {f.arm.name: f for f in figures}
    chart, panels = plt.subplots(1, 3, figsize=(17, 6), sharex=True, sharey=True, layout="constrained")
    for axes, (title, down, names) in zip(panels, PANELS, strict=True):
        for name in names:
            if name in known:
                _line(axes, known[name], down=down)
        if "adamw" in known:
            floor = known["adamw"].final
            axes.axhline(floor, color="#777777", linewidth=1, linestyle=":")
            text = "one machine, AdamW, the same tokens"
            axes.text(0.01, floor + 0.03, text, transform=axes.get_yaxis_transform(), fontsize=8, color="#555555")
        axes.set(xscale="log", xlabel="bytes, all contributors together", title=title)
        axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            fontsize=8,
            frameon=False,
            loc="upper right",
            title="final bits per byte",
            title_fontsize=8,
        )
    panels[0].set_ylabel("bits per byte, held out (mean of seeds)")
    chart.savefig(path, dpi=130)
    plt.close(chart)


def _line(axes: Axes, figures: Figures, *, down: bool) -> None:
    """The mean of the seeds, and each of them thin behind it."""
    name = figures.arm.name
    colour = COLOURS[name.removeprefix("churn-").removesuffix(DASHED)]
    style = "--" if name.endswith(DASHED) else "-"
    label = f"{figures.arm.title.removeprefix('churn: ')}: {figures.final:.2f}"
    sizes, losses = _line_of(mean_curve(figures), down=down)
    axes.plot(sizes, losses, style, color=colour, linewidth=1.6, marker="o", markersize=2.5, label=label)
    for run in figures.runs.values():
        axes.plot(*_line_of(run["curve"], down=down), style, color=colour, linewidth=0.6, alpha=0.35)


def _line_of(curve: Curve, *, down: bool) -> tuple[list[float], list[float]]:
    """Bytes and loss of every point after the start, which has no place on a logarithmic axis."""
    later = [point for point in curve if point[0] > 0]
    return [point[2] + (point[3] if down else 0) for point in later], [point[4] for point in later]
