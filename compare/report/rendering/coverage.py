"""How much of a mirrored model is hand-written, and what is missing: where it is to be added."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compare.explaining import format as fmt

if TYPE_CHECKING:
    from compare.report.report import Report

__all__ = ["Missing", "missing", "missing_lines", "not_by_hand", "share", "shares", "whole"]

BUILDERS = "compare/pair/mirror/functions"
GATE = f"a gate in manual/gates/, and its builder in {BUILDERS}/"
LAYER = "a layer of this name in manual/"


class Missing(NamedTuple):
    """An operation that torch computed on both sides."""

    operation: str
    times: int
    why: str
    where: str  # to add it


def share(value: float) -> str:
    """Return a share in per cent; it says 100 % of nothing less than all.

    >>> share(1.0), share(0.99996), share(0.5)
    ('100 %', '99.9 %', '50 %')
    """
    return f"{math.floor(1000 * value) / 10:g} %"


def whole(report: Report) -> bool:
    """Whether all of a mirrored model is hand-written."""
    return bool(report.coverage) and min(report.coverage.values()) >= 1


def not_by_hand(report: Report) -> str:
    """Return the shares that are hand-written, if any is below 1; else ""."""
    return f"{shares(report)} by hand" if report.coverage and not whole(report) else ""


def shares(report: Report) -> str:
    """Return the shares of a mirror that are hand-written and compared with torch."""
    return ", ".join(f"{share(value)} of the {name}" for name, value in report.coverage.items())


def missing(report: Report) -> list[Missing]:
    """Return what torch computed on both sides of a mirror, the most frequent first."""
    rows = [Missing(fmt.name(a), n, fmt.name(why), _where(a)) for a, n, why in report.missing]
    return sorted(rows, key=lambda row: -row.times)


def missing_lines(report: Report, most: int = 5) -> list[str]:
    """Return the same for a terminal."""
    rows = missing(report)
    if not rows:
        return []
    lines = [f"  {row.operation} × {row.times:,}: {row.why}; add {row.where}" for row in rows]
    more = [f"  and {len(rows) - most} more"] if len(rows) > most else []
    return ["Not hand-written, torch computed it on both sides:", *lines[:most], *more]


def _where(operation: str) -> str:
    """Return where an operation is to be added, or its builder taught more."""
    import inspect

    from compare.pair.mirror.functions import FUNCTIONS

    if operation[:1].isupper():
        return LAYER
    builder = FUNCTIONS.get(operation)
    file = inspect.getsourcefile(builder) if builder is not None else None
    return f"what is missing to its builder in {BUILDERS}/{Path(file).name}" if file else GATE
