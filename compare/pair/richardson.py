"""Richardson extrapolation of central differences, as Ridders does it.

(f(h) − f(−h)) / 2h = f′ + c₂ h² + c₄ h⁴ + …: two steps remove h², two of those h⁴, … (Neville's
table). Of all the entries the one that differs least from its parents is taken, and that difference
is its error, never less than what rounding puts into the smaller step's.

Source: C. Ridders, Accurate computation of F′(x) and F′(x)F″(x), Adv. Eng. Software 4 (1982).
"""

from __future__ import annotations

import numpy as np


def extrapolated(
    column: np.ndarray, rounding: np.ndarray, ratio: float, orders: int | None = None
) -> tuple[float, float]:
    """Return the best entry of the table and its error.

    Args:
        column: central differences, the largest step first.
        rounding: what rounding puts into each.
        ratio: of a step to the next smaller one.
        orders: columns of the table; by default as many as there are steps.
    """
    best, smallest = float(column[-1]), float("inf")
    with np.errstate(all="ignore"):
        for order in range(1, len(column) if orders is None else min(orders, len(column))):
            finer = column[1:] + (column[1:] - column[:-1]) / (ratio ** (2 * order) - 1)
            change = np.maximum(np.abs(finer - column[1:]), np.abs(finer - column[:-1]))
            error = change + rounding[order:]
            error = np.where(np.isnan(error), np.inf, error)
            k = int(error.argmin())
            if error[k] < smallest:
                best, smallest = float(finer[k]), float(error[k])
            column = finer
    return best, smallest
