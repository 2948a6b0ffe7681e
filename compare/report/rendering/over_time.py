"""What layers did over time, as pictures: a column for each call, a row for each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.report.rendering.axes import clip, set_ticks
from compare.report.rendering.svg import SENTINEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from compare.report.report import Report

SHADES = 8  # from 0, as faint as the page, to 1
WIDTH, HEIGHT = 420.0, 150.0  # points, of one picture with its title and its axis
LEFT, RIGHT, TOP, BOTTOM = 56.0, 12.0, 26.0, 34.0


def over_time(report: Report) -> Figure:
    """One picture below the other, each with the place upwards and the step to the right."""
    from matplotlib.figure import Figure

    pictures = list(report.pictures.items())
    total = HEIGHT * len(pictures)
    figure = Figure(figsize=(WIDTH / 72, total / 72), dpi=72)
    for i, (name, values) in enumerate(pictures):
        low = (total - HEIGHT * (i + 1) + BOTTOM) / total
        box = (LEFT / WIDTH, low, 1 - (LEFT + RIGHT) / WIDTH, (HEIGHT - TOP - BOTTOM) / total)
        axes = figure.add_axes(box)
        _picture(axes, values)
        axes.set_title(clip(name, 40), loc="left", fontsize=9.5)
    return figure


def _picture(axes: Axes, values: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    steps, elements = values.shape
    shade = np.clip(np.nan_to_num(values) * SHADES, 0, SHADES - 1).astype(int)
    for level in range(SHADES):
        _cells(axes, np.argwhere(shade == level), SENTINEL[f"h{level}"])
    axes.set(xlim=(-0.5, steps - 0.5), ylim=(-0.5, elements - 0.5), xlabel="step", ylabel="place")
    axes.grid(False)
    set_ticks(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cells(axes: Axes, places: np.ndarray, colour: str) -> None:
    """Draw all cells of one shade as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not len(places):
        return
    corners = np.array([[-0.47, -0.45], [0.47, -0.45], [0.47, 0.45], [-0.47, 0.45], [-0.47, -0.45]])
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path((places[:, None] + corners).reshape(-1, 2), np.tile(codes, len(places)))
    axes.add_patch(PathPatch(path, facecolor=colour, edgecolor="none", linewidth=0))
