"""Tables as files: CSV at full precision, and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compare.explaining import format as fmt
from compare.report.rendering.facts import per_tensor, worst_rows
from compare.report.rendering.spreadsheet import harmless

if TYPE_CHECKING:
    from compare.report.report import Report

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "∞": r"$\infty$",
    "×": r"$\times$",
    "−": "--",
    "–": "--",
} | {c: f"\\{c}" for c in "&%$#_{}"}


def write_csv(report: Report, path: Path) -> None:
    """Write every row; a float is the shortest text that reads back as the same float.

    A name that a spreadsheet would take for a formula begins with an apostrophe.
    """
    frame = report.differences.copy(deep=False)
    for column in ("layer", "quantity"):
        frame[column] = [harmless(str(name)) for name in frame[column]]
    frame.to_csv(
        path,
        index=False,
        na_rep="nan",
        lineterminator="\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


def latex_tables(report: Report) -> dict[str, str]:
    """Return file name -> a `tabular` (booktabs) or `longtable` to \\input."""
    tensors = [
        (
            row.layer,
            row.quantity,
            row.shape,
            fmt.budget(row.budget_used),
            str(row.step),
            fmt.short(row.max_abs_diff),
            ", ".join(f"{n} {verdict}" for verdict, n in row.verdicts.items()),
        )
        for row in per_tensor(report.differences)
    ]
    worst = [
        (
            str(row["step"]),
            row["layer"],
            row["quantity"],
            row["worst_index"],
            fmt.exact(row["manual"]),
            fmt.exact(row["torch"]),
            fmt.budget(row["budget_used"]),
            row["verdict"],
        )
        for row in worst_rows(report)
    ]
    ledger = [[str(cell) for cell in row] for row in report.ledger.itertuples(index=False)]
    head = [str(column) for column in report.ledger.columns]
    return {
        "ledger.tex": _tabular(head, ledger, "l" + "r" * (len(head) - 1)),
        "tensors.tex": _tabular(
            ("layer", "quantity", "shape", "budget used", "at step", "max abs diff", "verdicts"),
            tensors,
            "lllrrrl",
            environment="longtable",
        ),
        "worst.tex": _tabular(
            ("step", "layer", "quantity", "index", "manual", "torch", "budget used", "verdict"),
            worst,
            "rlllrrrl",
        ),
    }


def _tabular(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    columns: str,
    environment: str = "tabular",
) -> str:
    repeat = "\n\\endhead" if environment == "longtable" else ""
    lines = [
        "% needs \\usepackage{booktabs} and, for a longtable, \\usepackage{longtable}",
        f"\\begin{{{environment}}}{{{columns}}}",
        "\\toprule",
        _line(head),
        f"\\midrule{repeat}",
        *map(_line, rows),
        "\\bottomrule",
        f"\\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(latex_escape(cell) for cell in cells) + r" \\"


def latex_escape(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in fmt.name(text))
