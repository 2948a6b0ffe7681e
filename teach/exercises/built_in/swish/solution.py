"""Swish (SiLU): y = x σ(x), element by element."""

import numpy as np


def swish_forward(x):
    """Return y (N, D) and what backward needs; x (N, D)."""
    small = np.exp(-np.abs(x))  # never overflows
    s = np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    return x * s, (x, s)


def swish_backward(dout, cache):
    """Product rule: d(x s)/dx = s + x s′, and s′ = s (1 − s)."""
    x, s = cache
    slope = s + x * s * (1 - s)  # (N, D)
    return dout * slope
