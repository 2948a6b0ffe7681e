"""Custom Functions that are wrong on other inputs, as a report tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compare.explaining import format as fmt
from compare.report.rendering.facts import FAILED, gap, worst_rows

if TYPE_CHECKING:
    from compare.report.elsewhere import Elsewhere
    from compare.report.report import Report

__all__ = ["elsewhere_lines", "places", "wrong_rows"]

SHOWN = 10


def places(report: Report) -> list[tuple[str, str]]:
    """Return of each such Function what is wrong, and the worst element with its numbers."""
    return [(_title(found), _element(found)) for found in report.elsewhere]


def elsewhere_lines(report: Report) -> list[str]:
    """Return the same for a terminal, with the cause."""
    lines = []
    for found, (title, element) in zip(report.elsewhere, places(report), strict=True):
        cause = found.divergence.cause
        lines += [f"Wrong on other inputs: {title}", f"  {element}"]
        lines += [] if cause is None else [f"  cause: {fmt.name(cause)}"]
    return lines


def wrong_rows(found: Elsewhere) -> list[dict[str, Any]]:
    """Return the tensors that do not agree in the check of the Function by itself, worst first."""
    rows = worst_rows(found.report, SHOWN)
    return [row for row in rows if row["verdict"] in FAILED]


def _title(found: Elsewhere) -> str:
    first = found.divergence
    return f"{fmt.name(first.quantity)} of {fmt.name(found.function)}.backward, {found.where}"


def _element(found: Elsewhere) -> str:
    first = found.divergence
    ours, theirs = first.sides or ("manual", "torch")
    return (
        f"worst element {fmt.name(first.worst_index)}: {fmt.name(ours)} {fmt.exact(first.manual)}, "
        f"{theirs} {fmt.exact(first.torch)}, "
        f"|diff| {fmt.short(gap(first.manual, first.torch, first.max_abs_diff))}"
    )
