"""Markdown with $equations$ to HTML with MathML: no script and no font is fetched."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from compare.errors import UserError

INLINE = (
    r'(<span class="math inline">(?:(?!</span>).)*</span>)([.,;:)]+)'  # punctuation stays with it
)


def to_html(markdown: str) -> str:
    """Return the HTML of a markdown cell.

    Raises:
        UserError: an equation uses a command that MathML conversion does not know.
    """
    text = re.sub(INLINE, r'<span class="joined">\1\2</span>', _parser().render(markdown))
    return text.replace(
        "<table>", '<div class="scroll" tabindex="0"><table class="narrow">'
    ).replace("</table>", "</table></div>")


def to_mathml(tex: str, display: bool = False) -> str:
    """Return one equation as MathML."""
    from latex2mathml.converter import convert

    known = tex.replace("{aligned}", "{align*}")
    found = convert(known, display="block" if display else "inline")
    if re.search(r"\\[A-Za-z]|<m[io]>&</m[io]>|<merror", found):
        raise UserError(f"an equation cannot be converted to MathML: {tex.strip()}")
    found = found.replace("<mi>&#x02032;</mi>", '<mo lspace="0" rspace="0">&#x02032;</mo>')
    return found.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def render(tex: str, options: dict[str, Any]) -> str:
        return to_mathml(tex, options["display_mode"])

    plain = MarkdownIt("commonmark", {"html": False}).enable("table")
    return plain.use(dollarmath_plugin, renderer=render, double_inline=True, allow_digits=False)
