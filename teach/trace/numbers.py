"""Numbers and small arrays in a few characters."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.words import _

MOST = 16  # elements shown
DIGITS = 6


def short(x: Any, digits: int = DIGITS) -> str:
    """Return a number, a small array in brackets, or a large one's shape; text as it is."""
    if isinstance(x, str):
        return x
    if np.ndim(x) == 0:
        return number(x, digits)
    few = min(digits, 4)
    return nested(x, few) if np.size(x) <= MOST else large(x, few)


def number(x: Any, digits: int = DIGITS) -> str:
    """Return a number with so many significant digits, and no sign of zero."""
    return f"{float(x) + 0.0:.{digits}g}"


def nested(x: Any, digits: int) -> str:
    if np.ndim(x) == 0:
        return number(x, digits)
    return f"[{' '.join(nested(row, digits) for row in x)}]"


def large(x: Any, digits: int) -> str:
    sides = "×".join(map(str, np.shape(x)))
    return _("{sides}, largest {x}").format(sides=sides, x=number(np.max(np.abs(x)), digits))


def lines(x: Any, digits: int = 3) -> list[str]:
    """Return an array as lines to draw: the rows of a matrix one below another."""
    if np.ndim(x) != 2 or np.size(x) > MOST:
        return [short(x, digits)]
    return [nested(row, digits) for row in x]


def share(budget: float) -> str:
    """Return which part of its tolerance a difference uses."""
    if not np.isfinite(budget):
        return "–"
    return "0" if budget == 0 else f"{100 * budget:.2g} %"
