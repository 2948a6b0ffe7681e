"""Figures of a lesson: inline SVG in the page's colours, nothing that pops up in a script."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compare.report.rendering.axes import new_figure, set_legend, set_ticks
from compare.report.rendering.palette import LIGHT
from compare.report.rendering.svg import SENTINEL, drawing, for_page, to_svg
from teach.kit.show import Shown, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = SENTINEL  # by name: s1 … s7 for series, d0 … d6 for an order, muted, bad, good
_numbers = itertools.count(1)


@contextmanager
def figure(
    label: str, *, width: float = 480, height: float = 270, steps: bool = False, **settings: Any
) -> Iterator[Axes]:
    """Give axes to draw on; on leaving, show the figure with its label as the caption.

    Args:
        label: what is to be seen, one sentence.
        width, height: in points.
        steps: whether the horizontal axis counts steps, in whole numbers.
        settings: for `axes.set`: xlabel, ylabel, xscale, …
    """
    with drawing():
        drawn, axes = new_figure(width, height)
        axes.set_prop_cycle(color=[COLOURS[f"s{i}"] for i in range(1, 8)])
        yield axes
        axes.set(**settings)
        set_ticks(axes, steps=steps)
        if axes.get_legend_handles_labels()[1]:
            set_legend(axes)
        svg = to_svg(drawn, f"figure{next(_numbers)}-")
    _show(for_page(svg, label), label)


def drawing_of(svg: str, label: str) -> None:
    """Show a finished SVG; colours written as `var(--ink)` follow the page's theme."""
    _show(svg[svg.index("<svg") :], label)


def _show(svg: str, label: str) -> None:
    """Without the site's style sheet, which says what `--ink` is, colours are the light theme's."""
    themed = re.sub(r"var\(--([\w-]+)\)", lambda m: f"var(--{m[1]}, {LIGHT[m[1]]})", svg)
    caption = f"<figcaption>{html.escape(label)}</figcaption>"
    framed = f'<figure><div class="scroll" tabindex="0">{themed}</div>{caption}</figure>'
    show(Shown(f"[figure: {label}]", framed))
