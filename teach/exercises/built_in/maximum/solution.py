"""Max gate: f = max(x, y), element by element."""

import numpy as np


def maximum_forward(x, y):
    """Return f (N, D) and what backward needs; x, y (N, D)."""
    return np.maximum(x, y), (x, y)


def maximum_backward(dout, cache):
    """f moves with the larger input, at slope 1, and not with the other: the gate routes."""
    x, y = cache
    dx = dout * (x >= y)  # (N, D)
    dy = dout * (x < y)  # (N, D)
    return dx, dy
