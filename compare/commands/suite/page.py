"""The rows for people: a page, lines for the terminal, and a table for a spreadsheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from compare.commands.suite.row import (
    AGREE,
    COLUMNS,
    CRASHED,
    DISAGREE,
    ERROR,
    INCOMPLETE,
    MISSING,
    TIMEOUT,
    Row,
)
from compare.errors import UserError

SYMBOLS = {AGREE: "✓", DISAGREE: "✗", INCOMPLETE: "?", MISSING: "–", ERROR: "!", TIMEOUT: "∞",
           CRASHED: "†"}  # fmt: skip
PAGE, TABLE = "index.html", "submissions.csv"
MOST = 40  # rows that a terminal shows


def save(rows: Sequence[Row], directory: Path, title: str, footer: str) -> list[Path]:
    """Write the page and the table; return their paths.

    Raises:
        UserError: they cannot be written.
    """
    from compare.report.rendering.spreadsheet import write_rows

    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_rows(directory / TABLE, COLUMNS, (row.cells() for row in rows))
        (directory / PAGE).write_text(html(rows, title, footer), "utf-8", "backslashreplace")
    except OSError as error:
        raise UserError(f"{directory} cannot be written: {error.strerror or error}.") from error
    return [directory / PAGE, directory / TABLE]


def unused(directory: Path) -> Path:
    """Return the directory, or the first of `directory-2`, … that holds no such table."""
    path, number = directory, 2
    while (path / TABLE).exists():
        path, number = directory.with_name(f"{directory.name}-{number}"), number + 1
    return path


def html(rows: Sequence[Row], title: str, footer: str) -> str:
    """Return the page: a grid of submissions and functions, and every row."""
    from markupsafe import Markup

    from compare.report.rendering.html import TEMPLATES, _environment
    from compare.report.rendering.palette import DARK, LIGHT, css_variables

    grid: dict[str, dict[str, tuple[int, Row]]] = {}
    for number, row in enumerate(rows, 1):
        cells = grid.setdefault(row.submission, {})
        if row.function not in cells or cells[row.function][1].verdict == AGREE:
            cells[row.function] = number, row  # of several copies the first that does not agree
    found = counts(rows)
    return (
        _environment()
        .get_template("submissions.html.j2")
        .render(
            rows=rows, grid=grid, functions=list(dict.fromkeys(row.function for row in rows)),
            counts=found, symbols=SYMBOLS, agree=found.get(AGREE, 0), title=title, footer=footer,
            told=f"{counted(rows)}.", tone=_tone(found),
            css=Markup((TEMPLATES / "report.css").read_text("utf-8")),
            light=Markup(css_variables(LIGHT)), dark=Markup(css_variables(DARK)),
        )
    )  # fmt: skip


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many rows have each verdict, in a fixed order."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in SYMBOLS if found[verdict]}


def counted(rows: Sequence[Row]) -> str:
    """Return in words how many submissions there are, and how many rows have each verdict."""
    people = len({row.submission for row in rows})
    told = ", ".join(f"{n:,} {verdict}" for verdict, n in counts(rows).items())
    return f"{people:,} submission{'s' if people != 1 else ''}, {len(rows):,} functions: {told}"


def _tone(found: dict[str, int]) -> str:
    if set(found) == {AGREE}:
        return AGREE
    return INCOMPLETE if set(found) <= {AGREE, INCOMPLETE, MISSING} else DISAGREE


def terminal(rows: Sequence[Row], width: int) -> str:
    """Return the rows that do not agree, one line each as far as it goes, and the counts."""
    shown = [row for row in rows if row.verdict != AGREE]
    shown.sort(key=lambda row: row.verdict == MISSING)  # a missing function explains itself
    heads = [(row.submission, row.function, row.verdict) for row in shown[:MOST]]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)] if heads else []
    lines = []
    for row, head in zip(shown, heads, strict=False):
        line = "  ".join(f"{cell:<{w}}" for cell, w in zip(head, widths, strict=True))
        where = f"{', '.join(row.gradients)}: " if row.gradients else ""
        line = " ".join(f"{line}  {where}{row.told}".split("\n"))
        lines.append(line if len(line) <= width else f"{line[: width - 1]}…")
    if len(shown) > MOST:
        lines.append(f"… and {len(shown) - MOST:,} more, on the page and in the table.")
    return "\n".join([*lines, "", f"{counted(rows)}."] if lines else [f"{counted(rows)}."])
