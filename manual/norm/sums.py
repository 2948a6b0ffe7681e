"""Sums along the last axis by matrix products: the fastest in NumPy, in every number system."""

from __future__ import annotations

import numpy as np

from manual.layer import Array

__all__ = ["dots", "totals"]


def totals(a: Array) -> Array:
    """Return Σ_i a_…i."""
    return a @ np.ones_like(a, shape=a.shape[-1:])


def dots(a: Array, b: Array) -> Array:
    """Return Σ_i a_…i b_…i; not np.vecdot, which conjugates and so breaks the complex step."""
    *leading, n = a.shape
    return (a.reshape(*leading, 1, n) @ b.reshape(*leading, n, 1)).reshape(*leading)
