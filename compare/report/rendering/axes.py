"""What every figure shares: its size, its lines, its ticks and its legend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.explaining import format as fmt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 300  # most points along a line, most columns of the heat map
LARGEST = 1e200  # a log axis is drawn no further: its ticks must not overflow


def thin(x: np.ndarray, y: np.ndarray, how: np.ufunc | None) -> tuple[np.ndarray, np.ndarray]:
    """Return at most POINTS points: each bin's extreme by `how`, or its mean."""
    width = math.ceil(len(x) / POINTS)
    if width <= 1:
        return x, y
    starts = np.arange(0, len(x), width)
    if how is not None:
        return x[starts], how.reduceat(y, starts)
    return x[starts], np.add.reduceat(y, starts) / np.diff(np.r_[starts, len(x)])


def new_figure(width: float = 420, height: float = 250) -> tuple[Figure, Axes]:
    """Return a figure of this size in points with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    return figure, figure.add_axes((56 / width, 38 / height, 1 - 68 / width, 1 - 74 / height))


def draw_line(axes: Axes, x: Any, y: Any, **style: Any) -> None:
    """Draw a line; a point that stands alone becomes a dot, so that one step is seen."""
    y = np.where(np.isfinite(y), np.clip(y, -LARGEST, LARGEST), np.nan)
    there = np.r_[False, ~np.isnan(y), False]
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    axes.plot(x, y, **style)
    if len(x) == 1:
        axes.set_xlim(x[0] - 0.9, x[0] + 0.9)
    if alone.any():
        dots: dict[str, Any] = {
            "marker": "o",
            "markersize": 5 if len(x) == 1 else 3,
            "linestyle": "none",
        }
        axes.plot(np.asarray(x)[alone], y[alone], color=style["color"], markeredgewidth=0, **dots)


def set_ticks(axes: Axes, *, budget: bool = False, steps: bool = True) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if steps:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    for axis, scale, (low, high) in (
        (axes.xaxis, axes.get_xscale(), axes.get_xlim()),
        (axes.yaxis, axes.get_yscale(), axes.get_ylim()),
    ):
        if scale == "log":
            subs = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
            axis.set_major_locator(LogLocator(subs=subs, numticks=7))
            axis.set_minor_locator(NullLocator())
            percents = budget and axis is axes.yaxis
            axis.set_major_formatter(FuncFormatter(percent if percents else power))
    axes.yaxis.label.set_rotation(0)
    axes.yaxis.label.set_horizontalalignment("left")
    axes.yaxis.set_label_coords(-0.12, 1.05)


def power(x: float, _: Any) -> str:
    exponent = round(math.log10(x)) if x > 0 else 0
    if abs(exponent) <= 3 or not math.isclose(x, 10.0**exponent):
        return f"{x:.3g}" if x < 1000 else f"{x:g}"
    return f"1e{exponent}"


def percent(x: float, _: Any) -> str:
    if 1e-4 <= x <= 1:
        return f"{100 * x:g} %"
    return power(x, _) + " ×" if x > 1 else power(100 * x, _) + " %"


def set_legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.02, 1.0)}
    columns = len(labels) if sum(map(len, labels)) + 4 * len(labels) < 62 else 4
    place |= {"columnspacing": 1.0, "handletextpad": 0.4}
    for line in axes.legend(handles, labels, ncols=columns, **place).get_lines():
        line.set_linewidth(max(2.2, line.get_linewidth()))


def clip(text: str, width: int) -> str:
    clean = fmt.name(text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"
