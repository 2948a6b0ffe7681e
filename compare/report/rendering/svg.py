"""Figures drawn by matplotlib, as SVG that follows the page's theme or stands alone.

A figure is drawn once in sentinel colours. For the page each becomes a CSS variable, for a file the
light theme's colour. Text stays text, so that it can be selected, searched and read aloud.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

from compare.report.rendering.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SENTINEL = {name: f"#0100{i:02x}" for i, name in enumerate(LIGHT, start=1)}
_NAME = {colour: name for name, colour in SENTINEL.items()}
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_PARAMETERS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "handgrad",
    "text.parse_math": False,
    "path.simplify": False,
    "font.size": 10.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "legend.handlelength": 1.4,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "ytick.minor.size": 0.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.labelsize": 9.5,
    "xtick.color": SENTINEL["muted"],
    "ytick.color": SENTINEL["muted"],
    "axes.labelcolor": SENTINEL["muted"],
    "axes.edgecolor": SENTINEL["muted"],
    "text.color": SENTINEL["ink"],
    "grid.color": SENTINEL["rule"],
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this project's parameters alone, whatever the user's matplotlibrc says."""
    from matplotlib import style

    with warnings.catch_warnings(), style.context(["default", _PARAMETERS]):
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element without dates or page-wide styles; its ids start so."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = _outside_text(text, _shorten)
    return _own_ids(text, name)


def for_page(svg: str, label: str) -> str:
    """Return the SVG with the theme's CSS variables, sized by the page."""
    body = _recoloured(svg, lambda name: f"var(--{name})")
    return _with_root(body, f'class="plot" role="img" aria-label="{escape(label)}"')


def for_file(svg: str, label: str) -> str:
    """Return the SVG as a document of its own, on white, in the light theme's colours."""
    body = _recoloured(svg, lambda name: LIGHT[name])
    width, height = _size(svg)
    root = (
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}pt" height="{height}pt" font-family="{FONTS}" role="img"'
    )
    body = _with_root(body, root)
    start = body.index(">") + 1
    ground = f'<title>{escape(label)}</title><rect width="100%" height="100%" fill="#ffffff"/>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body[:start]}{ground}{body[start:]}\n'


def _size(svg: str) -> tuple[str, str]:
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    return found[1], found[2]


def _with_root(svg: str, attributes: str) -> str:
    width, height = _size(svg)
    style = 'style="stroke-linejoin:round;stroke-linecap:butt"'
    root = f'<svg {attributes} viewBox="0 0 {width} {height}" {style}>'
    return root + svg[svg.index(">") + 1 :].strip()


def _recoloured(svg: str, colour: Callable[[str], str]) -> str:
    def inside(tag: re.Match[str]) -> str:
        return re.sub(r"#0100[0-9a-f]{2}", lambda m: colour(_NAME[m[0]]), tag[0])

    return re.sub(r'style="[^"]*"', inside, svg)


def _outside_text(svg: str, change: Callable[[str], str]) -> str:
    """Apply `change` to the tags and leave the text between them as it is."""
    return re.sub(r"<[^>]*>", lambda tag: change(tag[0]), svg)


def _shorten(tag: str) -> str:
    """Round coordinates to hundredths of a point and drop what every element repeats."""
    tag = re.sub(r"\s+", " ", tag)
    tag = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    if tag.startswith("<svg"):
        return tag
    return re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag)


def _own_ids(svg: str, name: str) -> str:
    """Drop the ids that nothing refers to, and make the others this figure's own."""
    used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))

    def own(tag: str) -> str:
        tag = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", tag)
        return re.sub(r'(url\(#| id="|href="#)', rf"\g<1>{name}-", tag)

    return re.sub(r">\s+<", "><", _outside_text(svg, own))
