"""Show a thing: as a picture or a table in a notebook, as text in a plain script."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teach.kit.words import _

if TYPE_CHECKING:
    import pandas as pd

WORDS = (  # cells that are translated, besides those of several words
    "agree", "disagree", "incomplete", "same", "right", "mistaken", "correct", "passes", "fails",
    "yes", "no", "zeros", "doubled", "central", "one-sided", "derived", "raw", "scaled",
    "regression", "variance", "nothing", "momentum", "cross-entropy", "ours", "bytes",
    "after +1", "after ×(−1)", "uncorrected", "hypothesis", "optimiser", "planted",
)  # fmt: skip
SEVERAL = re.compile(r"(?!`[^`]*`$).*\w[`,)']* \w")


@dataclass(frozen=True)
class Shown:
    """Something with two faces: text, and HTML or Markdown for a notebook and the site."""

    text: str
    html: str = ""
    markdown: str = ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        rich = {"text/html": self.html, "text/markdown": self.markdown}
        return {"text/plain": self.text} | {kind: face for kind, face in rich.items() if face}

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


def table(columns: Mapping[str, Iterable[Any]]) -> None:
    """Show columns of one length side by side; `text in backticks` is code.

    Headings, verdicts and cells of several words are translated; another is what it is.
    """
    show(of_columns(columns))


def _faces(thing: Any) -> Any:
    if type(thing).__module__.startswith("pandas") and hasattr(thing, "columns"):
        return of_frame(thing)
    return thing


def of_frame(frame: pd.DataFrame) -> Shown:
    """Return a DataFrame's faces; the index is shown only if it has a meaning."""
    import pandas as pd

    named = not isinstance(frame.index, pd.RangeIndex)
    cells = frame.reset_index() if named else frame
    return of_columns(
        {"" if named and c == "index" else str(c): [*cells[c]] for c in cells.columns}
    )


def of_columns(columns: Mapping[str, Iterable[Any]]) -> Shown:
    """Return a table's faces: columns with text begin at the left, numbers end at the right."""
    cells = [[_cell(value) for value in column] for column in columns.values()]
    left = [any(isinstance(value, str) for value in column) for column in cells]
    rows = [[_text(value) for value in row] for row in zip(*cells, strict=True)]
    names = [_(name) for name in columns]
    return Shown(_plain(names, rows, left), _html(names, rows, left))


def _cell(value: Any) -> Any:
    """Return the number in a NumPy scalar or in a tensor without axes."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and (value in WORDS or SEVERAL.match(value)):
        return _(value)
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
        marks = (f' style="text-align:{"left" if is_left else "right"}"' for is_left in left)
        return "".join(
            f"<{tag}{mark}>{_inline(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{line('th', names)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
