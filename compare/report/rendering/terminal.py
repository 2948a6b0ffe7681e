"""A report in a terminal: the verdict, its cause, the first divergence, the worst rows, counts."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compare.explaining import format as fmt
from compare.report.rendering.against import lines as lines_against
from compare.report.rendering.coverage import missing_lines, shares, whole
from compare.report.rendering.elsewhere import elsewhere_lines
from compare.report.rendering.facts import (
    gap,
    headline,
    notices,
    place,
    sample_title,
    sides,
    totals,
    trained_line,
    worst_rows,
)
from compare.report.rendering.kills import kills_line
from compare.report.rendering.text import (
    INSIDE,
    at_worst,
    last_agreed,
    scope,
    shown_cause,
    verdict_counts,
    whose,
    worst_cells,
    worst_head,
)

if TYPE_CHECKING:
    from rich.text import Text

    from compare.diagnose.divergence import Divergence
    from compare.report.report import Report

TONES = {"agree": "green", "disagree": "red", "incomplete": "yellow", "none": "cyan"}
NAMES, SHORTEST = 2, 12  # columns of names come first; a name is cut to no fewer characters
SPARED = ("manual", "index")  # columns that a narrow table leaves out, `manual` with its neighbour


def terminal_text(report: Report, width: int | None = None) -> str:
    """Return verdict, cause, first divergence, worst rows, notes and counts: ≤ 30 lines if wide.

    Args:
        report: to be told.
        width: of the lines; by default that of the terminal, without one no line is broken.
    """
    width = _width() if width is None else width
    blocks = [_head(report), _divergence(report), elsewhere_lines(report), _worst(report, width)]
    blocks += [missing_lines(report)]
    blocks += [lines_against(report.against)] if report.against is not None else []
    blocks += [_notes(report), _counts(report)]
    lines = "\n\n".join("\n".join(block) for block in blocks if block)
    return "\n".join(_wrapped(line, width) for line in lines.split("\n"))


def failure_text(report: Report) -> str:
    """Return what an AssertionError says: in its first line verdict, tensor and cause."""
    told = shown_cause(report) or fmt.name(report.reason)
    first, _, rest = terminal_text(report).partition("\n")
    return f"{first}: {told}\n{rest.removeprefix(told).lstrip()}"


def show(report: Report) -> None:
    """Print the report; in colour where the terminal has any and NO_COLOR does not forbid it."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    text = terminal_text(report)
    if console.is_terminal:
        console.print(_coloured(report, text))
    else:
        print(text)


def _coloured(report: Report, text: str) -> Text:
    from rich.text import Text

    tone = TONES[headline(report).tone]
    found = Text(text)
    found.stylize(f"bold {tone}", 0, text.index("\n"))
    if shown_cause(report):
        found.stylize("bold", text.index("\n") + 1, text.index("\n", text.index("\n") + 1))
    found.highlight_regex(r"(?m)^ +.* × .*(disagree|missing|non-finite)$", "red")
    return found


def _width() -> int:
    """Return the terminal's width; 0 where there is none, as in a pipe."""
    if sys.stdout is None or not sys.stdout.isatty():
        return 0
    return shutil.get_terminal_size().columns


def _head(report: Report) -> list[str]:
    head = headline(report)
    title = f"{head.word}: {fmt.name(report.name)}"
    lines = [f"{title} ({head.qualifier})" if head.qualifier else title]
    lines += filter(None, [shown_cause(report), fmt.name(report.reason)])
    return lines + [f"{notice.title}. {notice.text}" for notice in notices(report)]


def _divergence(report: Report) -> list[str]:
    first = report.first_divergence
    if first is None:
        return []
    where = place(report, first.step, first.layer, first.quantity)
    lines = [f"First divergence: {where} ({fmt.name(first.layer_type)})"]
    lines += [_element(report, first)] if first.worst_index else []  # none of a missing tensor
    told = fmt.name(first.explanation or whose(first))
    if report.mode == "check":
        lines += [f"  {told}"] if first.explanation else []
    else:
        lines.append(f"  {fmt.name(first.own_or_inherited)}: {told}")
    lines += [f"  cause: {fmt.name(report.cause)}"] if report.cause is not None else []
    lines += [f"  {fmt.name(first.witnesses.text)}"] if first.witnesses is not None else []
    lines += [f"  in the tables: {INSIDE}"] if first.sides else []
    return [*lines, f"  last agreed: {last_agreed(report, first)}"]


def _element(report: Report, first: Divergence) -> str:
    difference = fmt.short(gap(first.manual, first.torch, first.max_abs_diff))
    ours, theirs = sides(report)
    return (
        f"  worst element {fmt.name(first.worst_index)}: {ours} {fmt.exact(first.manual)}, "
        f"{theirs} {fmt.exact(first.torch)}, |diff| {difference}"
    )


def _worst(report: Report, width: int) -> list[str]:
    rows = [worst_cells(report, row) for row in worst_rows(report, 5)]
    if not rows:
        return []
    title = f"Worst tensors{at_worst(report)} (above 100 % of the budget the sides disagree):"
    return [title, *fitted([worst_head(report), *rows], width)]


def _notes(report: Report) -> list[str]:
    return ["Notes:", *(f"  {fmt.name(note)}" for note in report.notes)] if report.notes else []


def _counts(report: Report) -> list[str]:
    total = totals(report)
    whom = " with this torch" if report.against is not None else ""
    lines = [f"{scope(report, total)}; {fmt.name(report.mode)}", f"{verdict_counts(total)}{whom}"]
    lines += [f"Hand-written: {shares(report)}"] if whole(report) else []
    if not report.overridden:
        lines.append(f"Tolerance: {fmt.name(report.tolerance)}")
    lines += filter(None, [kills_line(report), trained_line(report)])
    if report.sample is None:
        return lines
    said = "".join(report.sample).splitlines()
    return [*lines, f"{sample_title(report)}:", *(f"  | {fmt.block(line)}" for line in said)]


def fitted(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lay out a table; one too wide loses parts of its names, then whole columns, never digits."""
    table = [list(row) for row in rows]
    first = len(table[0]) - 6  # where the names of tensors stand
    excess = _needed(table) - width if width else 0
    for column in range(first, -1, -1):
        widest = max(len(row[column]) for row in table)
        kept = max(SHORTEST, widest - max(0, excess))
        for row in table:
            row[column] = clip(row[column], kept)
        excess = _needed(table) - width if width else 0
    for name in SPARED if excess > 0 else ():
        if _needed(table) > width:
            at = table[0].index(name)
            table = [row[:at] + row[at + (2 if name == "manual" else 1) :] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _needed(table: list[list[str]]) -> int:
    return sum(2 + max(map(len, column)) for column in zip(*table, strict=True))


def _wrapped(line: str, width: int) -> str:
    """Break a long line between words, never within a number, and indent what follows."""
    if not width or len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.strip(), max(20, width), initial_indent=indent, subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
