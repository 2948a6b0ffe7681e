"""The line and bar plots of a report, each drawn onto fresh axes in sentinel colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from compare.report.rendering.axes import (
    LARGEST,
    clip,
    draw_line,
    new_figure,
    set_legend,
    set_ticks,
    thin,
)
from compare.report.rendering.facts import KINDS, codes, judged_steps, kind
from compare.report.rendering.svg import SENTINEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from compare.report.report import Report

KIND_COLOURS = {name: SENTINEL[f"s{i}"] for i, name in enumerate(KINDS, start=1)}
FLOOR = 1e-6  # of the budget; the axis goes no lower


def budget_lines(report: Report) -> Figure:
    """The largest budget used per step, one line per kind of quantity, below the limit."""
    table, used = judged_steps(report.differences)
    number, quantities = codes(table["quantity"])
    steps, at = np.unique(table["step"].to_numpy(), return_inverse=True)
    figure, axes = new_figure()
    smallest = largest = 1.0
    for name in KINDS:
        mine = np.isin(number, [i for i, q in enumerate(quantities) if kind(q) == name])
        if not np.any(mine & ~np.isnan(used)):
            continue
        line = np.full(len(steps), np.nan)
        np.fmax.at(line, at[mine], used[mine])
        positive = line[np.isfinite(line) & (line > 0)]
        smallest, largest = positive.min(initial=smallest), positive.max(initial=largest)
        x, y = thin(steps, np.where(line > 0, line, np.nan), np.fmax)
        draw_line(axes, x, y, color=KIND_COLOURS[name], linewidth=1.1, label=name)
    lowest = min(0.05, max(FLOOR, smallest / 3))
    axes.axhline(1.0, color=SENTINEL["bad"], linewidth=1.2, linestyle=(0, (5, 3)))
    axes.set(yscale="log", xlabel="step", ylim=(lowest, min(largest, LARGEST) * 4))
    axes.text(1, 1.12, "limit", color=SENTINEL["bad"], fontsize=9, ha="right", va="bottom",
              transform=axes.get_yaxis_transform())  # fmt: skip
    set_ticks(axes, budget=True)
    set_legend(axes)
    return figure


def losses(report: Report) -> Figure:
    """Both sides' loss: a thin line inside a broad one."""
    figure, axes = new_figure()
    table = report.losses
    for side, colour, width in (("torch", SENTINEL["d0"], 5.0), ("manual", SENTINEL["d5"], 1.4)):
        values = table[side].to_numpy(dtype=float)
        x, y = thin(table["step"].to_numpy(), values, None)
        draw_line(axes, x, y, color=colour, linewidth=width, label=side)
    axes.set(xlabel="step", ylabel="loss")
    set_ticks(axes)
    set_legend(axes)
    return figure


def drift(report: Report) -> Figure:
    """How far the two sides part when they are never re-synchronised."""
    figure, axes = new_figure()
    table = report.drift
    loss = (table["loss_manual"] - table["loss_torch"]).abs().to_numpy(dtype=float)
    parameters = table["max_param_diff"].to_numpy(dtype=float)
    for values, name, colour in (
        (parameters, "largest parameter difference", SENTINEL["s1"]),
        (loss, "loss difference", SENTINEL["s2"]),
    ):
        values = np.where(values > 0, values, np.nan)
        x, y = thin(table["step"].to_numpy(), values, np.fmax)
        draw_line(axes, x, y, color=colour, linewidth=1.4, label=name)
    axes.set(yscale="log", xlabel="step")
    set_ticks(axes)
    set_legend(axes)
    return figure


def accuracy(report: Report) -> Figure:
    """Both sides' share of right answers, for each kind of rows."""
    return _scored(report, "accuracy", "share right")


def scored_losses(report: Report) -> Figure:
    """Both sides' loss while each trains by itself, on each kind of rows."""
    return _scored(report, "loss", "loss, in evaluation")


def _scored(report: Report, column: str, label: str) -> Figure:
    """Draw a column of the scores: the hand-written side thin inside torch's broad line."""
    figure, axes = new_figure()
    colours = (("d0", "d5"), ("h4", "s1"))
    kinds = report.scores.groupby("rows", sort=False)
    for (rows, table), (broad, thin_) in zip(kinds, colours, strict=False):
        for side, colour, width in (("torch", broad, 5.0), ("manual", thin_, 1.4)):
            values = table[f"{column}_{side}"].to_numpy(dtype=float)
            draw_line(axes, table["step"].to_numpy(), values, color=SENTINEL[colour],
                      linewidth=width, label=f"{rows}, {side}")  # fmt: skip
    axes.set(xlabel="step", ylabel=label)
    set_ticks(axes)
    set_legend(axes)
    return figure


def ulps(report: Report) -> Figure:
    """How many elements differ by how many units in the last place."""
    figure, axes = new_figure()
    table = report.ulps[report.ulps["elements"] > 0]
    log2 = table["log2_ulps"].to_numpy(dtype=int)
    counts = table["elements"].to_numpy(dtype=float)
    colours = [SENTINEL["h4"] if power < 0 else SENTINEL["s1"] for power in log2]
    axes.bar(log2, counts, width=0.82, color=colours, linewidth=0)
    at = np.arange(-1, log2.max() + 1)
    at = at[:: max(1, math.ceil(len(at) / 12))]
    axes.set_xticks(at, ["=" if p < 0 else str(p) for p in at])
    axes.set(
        yscale="log", xlabel="log₂ of the difference in ulps (=: bitwise equal)", ylabel="elements"
    )
    axes.set_ylim(0.5, counts.max() * 2)
    axes.grid(False, axis="x")
    set_ticks(axes, steps=False)
    return figure


def gradient_norms(report: Report, lines: int = 7) -> Figure:
    """Each layer's parameter-gradient norm over the steps, the first layer faintest."""
    layers, steps, norms = layer_norms(report.differences)
    chosen = np.unique(np.linspace(0, len(layers) - 1, min(lines, len(layers))).astype(int))
    shades = np.linspace(0, 6, len(chosen)).round().astype(int)
    figure, axes = new_figure()
    for i, shade in zip(chosen, shades, strict=True):
        values = np.where(norms[i] > 0, norms[i], np.nan)
        x, y = thin(steps, values, None)
        draw_line(axes, x, y, color=SENTINEL[f"d{shade}"], linewidth=1.3, label=clip(layers[i], 14))
    axes.set(yscale="log", xlabel="step", ylabel="gradient norm")
    set_ticks(axes)
    set_legend(axes)
    return figure


def layer_norms(differences: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the layers in forward order, the steps, and √Σ norm² over each layer's parameters."""
    table = differences[differences["quantity"].astype(str).str.startswith("grad:")]
    table = table[np.isfinite(table["norm"].to_numpy(dtype=float))]
    number, layers = codes(table["layer"])
    steps, at = np.unique(table["step"].to_numpy(), return_inverse=True)
    squares = np.zeros((len(layers), len(steps)))
    np.add.at(squares, (number, at), table["norm"].to_numpy(dtype=float) ** 2)
    return layers[::-1], steps, np.sqrt(squares)[::-1]  # the backward pass visits the last first
