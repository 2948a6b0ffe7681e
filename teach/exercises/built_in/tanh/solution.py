"""Tanh, element by element."""

import numpy as np


def tanh_forward(x):
    """Return y (N, D) and what backward needs; x (N, D)."""
    y = np.tanh(x)
    return y, y


def tanh_backward(dout, cache):
    """tanh = sinh / cosh, so its derivative is (cosh² − sinh²) / cosh² = 1 − tanh²."""
    y = cache
    return dout * (1 - y) * (1 + y)  # (N, D)
