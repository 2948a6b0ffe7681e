"""Two torches and the hand-written side, tensor by tensor: who moved, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.report.rendering.axes import LARGEST, new_figure, set_legend, set_ticks
from compare.report.rendering.svg import SENTINEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compare.report.report import Report

FLOOR = 1e-7  # of the tolerance; the axis goes no lower
SERIES = (  # drawn in this order: dots, rings around them, and dashes across
    ("this", "hand-written − this", "s7", "o", 5.0, False),
    ("other", "hand-written − other", "s2", "o", 5.5, True),
    ("between", "this − other", "s1", "_", 7.0, False),
)


def who_moved(report: Report) -> Figure:
    """Each tensor's three shares of its tolerance, in execution order, below the limit."""
    assert report.against is not None
    tensors = report.against.tensors()
    figure, axes = new_figure()
    at, smallest, largest = np.arange(len(tensors)), 0.01, 1.0
    for name, label, colour, marker, size, hollow in SERIES:
        values = np.array([getattr(tensor, name) for tensor in tensors], dtype=float)
        positive = values[np.isfinite(values) & (values > 0)]
        smallest = max(FLOOR, min(smallest, positive.min(initial=smallest)))
        largest = min(LARGEST, max(largest, positive.max(initial=largest)))
        values = np.clip(np.where(np.isnan(values), np.inf, values), FLOOR, LARGEST)
        axes.plot(at, values, linestyle="none", marker=marker, markersize=size, label=label,
                  color=SENTINEL[colour], markerfacecolor="none" if hollow else SENTINEL[colour],
                  markeredgewidth=0 if marker == "o" and not hollow else 1.5)  # fmt: skip
    lowest = smallest / 3
    for line in axes.lines:  # what is equal stands on the ground
        line.set_ydata(np.maximum(np.asarray(line.get_ydata()), lowest))
    axes.axhline(1.0, color=SENTINEL["bad"], linewidth=1.2, linestyle=(0, (5, 3)))
    axes.set(yscale="log", xlabel="tensor, in execution order", ylim=(lowest, largest * 4))
    axes.text(1, 1.12, "limit", color=SENTINEL["bad"], fontsize=9, ha="right", va="bottom",
              transform=axes.get_yaxis_transform())  # fmt: skip
    axes.margins(x=0.02)
    set_ticks(axes, budget=True)
    set_legend(axes)
    return figure
