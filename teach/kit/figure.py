"""Figures of a lesson: inline SVG in the page's colours, nothing that pops up in a script."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compare.report.rendering.axes import new_figure, set_legend, set_ticks
from compare.report.rendering.palette import LIGHT
from compare.report.rendering.svg import SENTINEL, drawing, for_page, to_svg
from teach.kit.show import Shown, show
from teach.kit.words import _

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from manual.graph import Graph

COLOURS = SENTINEL  # by name: s1 … s7 for series, d0 … d6 for an order, muted, bad, good
WORDS = ("xlabel", "ylabel", "title")  # settings that are translated, as labels are
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
        axes.set(**{k: _(v) if k in WORDS else v for k, v in settings.items()})
        set_ticks(axes, steps=steps)
        for artist, told in zip(*axes.get_legend_handles_labels(), strict=True):
            artist.set_label(_(told))
        if axes.get_legend_handles_labels()[1]:
            set_legend(axes)
        svg = to_svg(drawn, f"figure{next(_numbers)}-")
    _show(for_page(svg, _(label)), label)


def drawing_of(svg: str, label: str) -> None:
    """Show a finished SVG; colours written as `var(--ink)` follow the page's theme."""
    _show(svg[svg.index("<svg") :], label)


def neurons(widths: Sequence[int], label: str, kinds: str | Sequence[str] = "sigmoid") -> None:
    """Show a fully connected network as its neurons.

    Args:
        widths: neurons of every layer, the inputs first.
        label: what is to be seen, one sentence.
        kinds: what the layers after the inputs are; one word is for all of them.
    """
    from compare.report.rendering.neurons import Column, neurons_svg

    names = [kinds] * (len(widths) - 1) if isinstance(kinds, str) else kinds
    drawing_of(neurons_svg([*map(Column, widths, [_("inputs"), *names])], _(label)), label)


def network(graph: Graph, label: str, *, fold: bool = False) -> None:
    """Show a graph of layers, each node a box with its name and class.

    Args:
        graph: of `manual`.
        label: what is to be seen, one sentence.
        fold: of an unrolled network: draw all calls of a layer as one box.
    """
    from compare.report.rendering.network_graph import Drawn, folded, network_svg

    nodes = [
        Drawn(n.name, type(n.layer).__name__, tuple(source for source in n.inputs if source))
        for n in graph.nodes
    ]
    drawing_of(network_svg(folded(nodes) if fold else nodes, _(label)), label)


def _show(svg: str, label: str) -> None:
    """Without the site's style sheet, which says what `--ink` is, colours are the light theme's."""
    themed = re.sub(r"var\(--([\w-]+)\)", lambda m: f"var(--{m[1]}, {LIGHT[m[1]]})", svg)
    label = _(label)
    caption = f"<figcaption>{html.escape(label)}</figcaption>"
    framed = f'<figure><div class="scroll" tabindex="0">{themed}</div>{caption}</figure>'
    show(Shown(f"[{_('figure')}: {label}]", framed))
