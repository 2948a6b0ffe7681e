"""Scaling of columns, and rounding to numbers that float32 holds exactly."""

from __future__ import annotations

import numpy as np

SCALES = ("none", "standard", "minmax")


def scale(columns: np.ndarray, how: str) -> np.ndarray:
    """Scale each column over the rows; a constant column becomes zeros.

    `standard`: mean 0, standard deviation 1 (dividing by N); `minmax`: the range 0 … 1.
    """
    if how == "none":
        return columns
    if how == "standard":
        origin, width = columns.mean(axis=0), columns.std(axis=0)
    else:
        origin = columns.min(axis=0)
        width = columns.max(axis=0) - origin
    constant = columns.max(axis=0) == columns.min(axis=0)  # std of a constant may round above 0
    return np.where(constant, 0.0, columns - origin) / np.where(constant, 1.0, width)


def representable(values: np.ndarray) -> np.ndarray:
    """Return float64 values rounded to the nearest float32; too large ones become infinite."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float32).astype(np.float64)
