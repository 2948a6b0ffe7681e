"""Fully connected layers as their neurons: a column for each layer, a line for each weight.

For reports, from a config's `layers`, and for lessons, from widths and names. Large layers are
abbreviated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

__all__ = ["Column", "columns_of", "neurons_svg"]

RADIUS, ACROSS, DOWN, MARGIN = 11.0, 132.0, 32.0, 14.0  # of a neuron, and to the next, in pixels
LINE, LABELLED = 17.0, 92.0  # of a label: its height, and the width that it may need
MOST, FIRST, LAST = 8, 4, 2  # neurons of a column; of a longer one so many are drawn
KINDS = ("input", "hidden", "output")
STROKES = {"input": "var(--muted)", "hidden": "var(--s1)", "output": "var(--s2)"}


class Column(NamedTuple):
    """A layer: how many neurons, and what stands below their number."""

    units: int
    label: str = ""


def columns_of(layers: Iterable[Mapping[str, Any]]) -> list[Column]:
    """Return the columns of a chain of `Linear`s and what acts on their outputs; else [].

    Args:
        layers: a config's tables, with their `type`, `name`, `inputs` and arguments.
    """
    from manual.registry import ACTIVATIONS

    keep = {*ACTIVATIONS, "Dropout", "BatchNorm1d", "LayerNorm", "Identity"} - {"GLU"}
    columns: list[Column] = []
    before = "input"
    for layer in layers:
        kind = layer["type"]
        if list(layer.get("inputs", [before])) != [before]:
            return []
        if kind == "Linear" and "in_features" in layer:
            columns = columns or [Column(layer["in_features"], "inputs")]
            columns.append(Column(layer["out_features"]))
        elif columns and kind in keep:
            units, label = columns[-1]
            columns[-1] = Column(units, f"{label}, {kind}" if label else kind)
        else:
            return []
        before = layer["name"]
    return [Column(units, label or "linear") for units, label in columns]


def neurons_svg(columns: Sequence[Column], label: str) -> str:
    """Return the drawing, in the page's colours.

    Args:
        columns: from the inputs to the outputs.
        label: what is drawn, for those who do not see it.
    """
    places = [_places(column.units) for column in columns]
    tall = max(_height(column) for column in places)
    height = tall + 2 * LINE + 2 * MARGIN
    width = ACROSS * (len(columns) - 1) + LABELLED + 2 * MARGIN
    points = [
        [(MARGIN + LABELLED / 2 + ACROSS * i, MARGIN + y + (tall - _height(ys)) / 2) for y in ys]
        for i, ys in enumerate(places)
    ]
    lines = [_line(a, b) for left, right in pairwise(points) for a in left for b in right]
    circles = [_neuron(p, _kind(i, len(points))) for i, ps in enumerate(points) for p in ps]
    words = [_words(c, ps, height) for c, ps in zip(columns, points, strict=True)]
    return (
        f'<svg class="neurons" role="img" aria-label="{escape(label)}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13" text-anchor="middle">'
        f'<g stroke="var(--muted)" stroke-width="0.9" opacity="0.6">{"".join(lines)}</g>'
        f"{''.join(circles)}{''.join(words)}</svg>"
    )


def _places(units: int) -> list[float]:
    """Return how far down the drawn neurons of a column stand; a gap tells that some are not."""
    if units <= MOST:
        return [RADIUS + DOWN * i for i in range(units)]
    shown = [*range(FIRST), *range(FIRST + 1, FIRST + 1 + LAST)]
    return [RADIUS + DOWN * i for i in shown]


def _height(places: Sequence[float]) -> float:
    return places[-1] + RADIUS


def _kind(i: int, columns: int) -> str:
    return KINDS[0] if i == 0 else KINDS[2] if i == columns - 1 else KINDS[1]


def _line(a: tuple[float, float], b: tuple[float, float]) -> str:
    ends = f'x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"'
    return f"<line {ends}/>"


def _neuron(at: tuple[float, float], kind: str) -> str:
    place = f'cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{RADIUS:g}"'
    return f'<circle {place} fill="var(--raised)" stroke="{STROKES[kind]}" stroke-width="1.8"/>'


def _words(column: Column, points: Sequence[tuple[float, float]], height: float) -> str:
    """Return the dots of an abbreviated column, and its number and label at the bottom."""
    x = points[0][0]
    dots = ""
    if column.units > len(points):
        middle = (points[FIRST - 1][1] + points[FIRST][1]) / 2
        dots = f'<text x="{x:.1f}" y="{middle + 5:.1f}" fill="var(--ink)">⋮</text>'
    number, below = height - MARGIN - LINE + 4, height - MARGIN + 4
    return (
        f'{dots}<text x="{x:.1f}" y="{number:.1f}" fill="var(--ink)" font-weight="600">'
        f'{column.units:,}</text><text x="{x:.1f}" y="{below:.1f}" fill="var(--muted)">'
        f"{escape(column.label)}</text>"
    )
