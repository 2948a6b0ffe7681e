"""The heat map of a report: budget used, tensor by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.report.rendering.axes import POINTS, clip, new_figure
from compare.report.rendering.facts import TensorRow, judged_steps, severity, tensor_codes
from compare.report.rendering.svg import SENTINEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from compare.report.report import Report

HEAT_ROWS = 72
RIGHT = 0.012  # of the width is free at the right
LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # upper ends; h0 is 0, h8 is above 1
LEVEL_NAMES = ("0", "0.1 %", "0.3 %", "1 %", "3 %", "10 %", "30 %", "100 %", "above")


WIDTH, HEIGHT, TOP = 720.0, 11.0, 34.0  # points: of the map, of a row, above the rows


class Map(NamedTuple):
    """What the map shows: budgets, the tensors of its rows, and the names of its columns.

    In a check the columns are cases with names, else (bins of) steps with numbers.
    """

    grid: np.ndarray
    names: list[tuple[str, str]]
    columns: list[str]
    checked: bool

    @property
    def labels(self) -> list[str]:
        """The rows, named."""
        return [" · ".join(filter(None, (clip(a, 22), clip(b, 30)))) for a, b in self.names]

    @property
    def margin(self) -> float:
        return min(230.0, 12 + 5.4 * max(map(len, self.labels)))

    @property
    def bottom(self) -> float:
        return 20 + 3.7 * min(24, max(map(len, self.columns))) if self.checked else 32.0

    @property
    def wide(self) -> int:
        """How many columns there is room for."""
        return max(self.grid.shape[1], 12)


def map_of(report: Report) -> Map:
    checked = report.mode == "check"
    table = report.differences
    grid, names, steps = heat_grid(_by_case(table) if checked else table)
    cases = dict(zip(table["step"], table["layer"], strict=True)) if checked else {}
    return Map(grid, names, [str(cases.get(step, step)) for step in steps], checked)


def hover(report: Report, tensors: Sequence[TensorRow]) -> dict[str, Any]:
    """Return what the page needs to tell of the cell under the pointer, and where it leads.

    Budgets to two digits, null where not judged, −1 where infinite; `rows` are the numbers of the
    table's rows, in a check one for each cell.
    """
    if np.isnan(severity(report.differences)).all():
        return {}
    shown = map_of(report)
    at = {(row.layer, row.quantity): i for i, row in enumerate(tensors)}
    if shown.checked:
        rows: list[Any] = [[at.get((c, q)) for c in shown.columns] for _, q in shown.names]
    else:
        rows = [at.get(name) for name in shown.names]
    right = WIDTH * (1 - RIGHT)
    return {
        "box": [shown.margin, TOP, right, TOP + HEIGHT * len(shown.names)],
        "wide": shown.wide,
        "labels": shown.labels,
        "columns": shown.columns,
        "what": "case" if shown.checked else "step",
        "cells": [[_rounded(x) for x in row] for row in shown.grid],
        "rows": rows,
    }


def _rounded(x: float) -> float | None:
    if np.isnan(x):
        return None
    return -1 if np.isinf(x) else float(f"{x:.2g}")


def heat_map(report: Report) -> Figure:
    """Budget used: tensors in execution order downwards, steps to the right."""
    shown = map_of(report)
    margin, many = shown.margin, len(shown.names)
    total = HEIGHT * many + TOP + shown.bottom + 4
    figure, axes = new_figure(WIDTH, total)
    top, bottom = TOP / total, (shown.bottom + 4) / total
    axes.set_position((margin / WIDTH, bottom, 1 - margin / WIDTH - RIGHT, 1 - top - bottom))
    for level in range(9):
        _heat_level(axes, shown.grid, level, HEIGHT)
    axes.set(xlim=(0, shown.wide), ylim=(many, 0), xlabel="" if shown.checked else "step")
    axes.set_yticks(np.arange(many) + 0.5, shown.labels, fontsize=8.5)
    if shown.checked:
        turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        at, labels = np.arange(len(shown.columns)), [clip(c, 24) for c in shown.columns]
        axes.set_xticks(at + 0.5, labels, fontsize=8.5, **turned)
    else:
        at = _round_places(len(shown.columns))
        axes.set_xticks(at + 0.5, [shown.columns[i] for i in at])
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _heat_legend(figure, margin)
    return figure


def _by_case(differences: pd.DataFrame) -> pd.DataFrame:
    """Name rows by their quantity alone: a check's columns are its cases."""
    return differences.assign(layer="")


def heat_grid(
    differences: pd.DataFrame, columns: int = POINTS, rows: int = HEAT_ROWS
) -> tuple[np.ndarray, list[tuple[str, str]], np.ndarray]:
    """Return the largest budget per tensor and (bin of) steps, the tensors, each bin's first step.

    Of more than `rows` tensors those that used most are kept, in execution order.
    """
    differences, used = judged_steps(differences)
    code, names = tensor_codes(differences)
    steps, at = np.unique(differences["step"].to_numpy(), return_inverse=True)
    width = math.ceil(len(steps) / columns)
    grid = np.full((len(names), math.ceil(len(steps) / width)), np.nan)
    np.fmax.at(grid, (code, at // width), used)
    if len(names) > rows:
        peak = np.nan_to_num(np.fmax.reduce(grid, axis=1), nan=-1.0, posinf=np.inf)
        keep = np.sort(np.argsort(-peak, kind="stable")[:rows])
        grid, names = grid[keep], [names[i] for i in keep]
    return grid, names, steps[::width]


def _round_places(columns: int) -> np.ndarray:
    """Return some columns to label, at multiples of a round number."""
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(8, integer=True, min_n_ticks=1).tick_values(0, columns - 1)
    return np.array([int(p) for p in places if 0 <= p < columns])


def heat_levels(grid: np.ndarray) -> np.ndarray:
    """Return 0 for bitwise equal, 1 … 7 up to the limit, 8 above it, −1 where not judged."""
    level = np.where(grid > 0, 1 + np.searchsorted(LEVELS, grid), 0)
    return np.where(np.isnan(grid), -1, level)


def _heat_level(axes: Axes, grid: np.ndarray, level: int, height: float) -> None:
    """Draw one level's cells as one path: a run of equal neighbours is one thick line."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    hit = np.pad((heat_levels(grid) == level).astype(np.int8), ((0, 0), (1, 1)))
    edge = np.diff(hit, axis=1)
    row, start = np.nonzero(edge == 1)
    end = np.nonzero(edge == -1)[1]
    if not len(row):
        return
    points = np.stack([np.c_[start, row + 0.5], np.c_[end, row + 0.5]], axis=1).reshape(-1, 2)
    path = Path(points, np.tile([Path.MOVETO, Path.LINETO], len(row)))
    colour = SENTINEL[f"h{level}"]
    style: dict[str, Any] = {"linewidth": height - 1, "capstyle": "butt", "antialiased": False}
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, **style))


def _heat_legend(figure: Figure, margin: float) -> None:
    """Lay the levels out above the map as swatches, each named by its upper end."""
    from matplotlib.patches import Rectangle

    width, total = figure.get_size_inches() * 72
    step = min(56.0, (width - margin - 10) / 9)
    for level, label in enumerate(LEVEL_NAMES):
        corner = ((margin + level * step) / width, (total - 13) / total)
        size = ((step - 2) / width, 8 / total)
        box = Rectangle(corner, *size, facecolor=SENTINEL[f"h{level}"], edgecolor="none")
        figure.add_artist(box)
        x, y = corner[0] + size[0] / 2, corner[1] - 11 / total
        figure.text(x, y, label, ha="center", fontsize=8.5, color=SENTINEL["muted"])
    text: dict[str, Any] = {"ha": "right", "fontsize": 8.5, "color": SENTINEL["muted"]}
    figure.text((margin - 8) / width, (total - 12) / total, "budget used, up to", **text)
