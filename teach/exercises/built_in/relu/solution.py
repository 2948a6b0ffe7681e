"""ReLU: y = max(0, x), element by element."""

import numpy as np


def relu_forward(x):
    """Return y (N, D) and what backward needs; x (N, D)."""
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    """The slope is 1 where x > 0 and 0 where x < 0; at 0 torch takes 0."""
    x = cache
    return dout * (x > 0)  # (N, D)
