"""Show a thing: as a picture or a table in a notebook, as text in a plain script."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

PAGE = "application/vnd.handgrad.page"  # HTML for the rendered site, whose style it relies on


@dataclass(frozen=True)
class Shown:
    """Something with several faces: text, HTML for the site, and what a notebook understands."""

    text: str
    page: str
    notebook: Mapping[str, str] = field(default_factory=dict)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text, PAGE: self.page, **self.notebook}

    def __str__(self) -> str:
        return self.text


def show(thing: Any) -> None:
    """Display the thing in a notebook, print it in a script."""
    faces = thing if isinstance(thing, Shown) else _faces(thing)
    if in_notebook() and not isinstance(faces, str):
        from IPython.display import display

        display(faces)
    else:
        print(faces)


def in_notebook() -> bool:
    """True inside an IPython kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def table(columns: Mapping[str, Sequence[Any]]) -> None:
    """Show columns side by side; `text in backticks` is code."""
    import pandas as pd

    show(pd.DataFrame(dict(columns)))


def _faces(thing: Any) -> Any:
    if type(thing).__module__.startswith("pandas") and hasattr(thing, "columns"):
        return of_frame(thing)
    return thing


def of_frame(frame: pd.DataFrame) -> Shown:
    """Return a DataFrame's faces; the index is shown only if it has a meaning."""
    import pandas as pd

    named = not isinstance(frame.index, pd.RangeIndex)
    cells = (frame.reset_index() if named else frame).map(_cell)
    names = ["" if named and str(c) == "index" else str(c) for c in cells.columns]
    left = [bool(cells[c].map(lambda v: isinstance(v, str)).any()) for c in cells.columns]
    rows = [[_text(v) for v in row] for row in cells.to_numpy(dtype=object)]
    return Shown(
        _plain(names, rows, left), _html(names, rows, left), {"text/html": frame.to_html()}
    )


def _cell(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _plain(names: list[str], rows: list[list[str]], left: list[bool]) -> str:
    lines = [[c.replace("`", "") for c in row] for row in [names, *rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    padded = (
        [
            c.ljust(w) if is_left else c.rjust(w)
            for c, w, is_left in zip(line, widths, left, strict=True)
        ]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _html(names: list[str], rows: list[list[str]], left: list[bool]) -> str:
    def line(tag: str, cells: list[str]) -> str:
        marks = ("" if is_left else ' class="r"' for is_left in left)
        return "".join(
            f"<{tag}{mark}>{_inline(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0"><table class="narrow">'
        f"<thead><tr>{line('th', names)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
