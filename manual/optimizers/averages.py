"""Running averages, the memory of most optimisers: a' = β a + (1 - β) new, begun at 0.

Unrolled, a_t = (1 - β) Σ_k β^k new_t-k: the weights fade, and add up to 1 - β^t.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.graph import Array

__all__ = ["averaged", "averaged_square"]


def averaged(g: Array, before: Any, beta: float, out: Array | None = None) -> Array:
    """Return the running average of g, a fresh array or in `out`; rounds as torch's lerp does."""
    m = np.subtract(g, before, out=out)
    m *= 1 - beta
    m += before
    return m


def averaged_square(g: Array, before: Any, beta: float, out: Array | None = None) -> Array:
    """Return the running average of g², a fresh array or in `out`."""
    v = np.multiply(g, 1 - beta, out=out)  # before squaring: g² alone overflows sooner
    v *= g
    v += beta * before
    return v
