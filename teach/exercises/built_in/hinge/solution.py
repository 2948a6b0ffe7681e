"""The multi-class hinge: the mean over samples of Σ max(0, s_j − s_right + 1), j ≠ right."""

import numpy as np


def hinge_forward(s, y):
    """Return L and what backward needs; scores s (N, K), labels y (N,)."""
    rows = np.arange(len(y))
    margins = np.maximum(0, s - s[rows, y][:, None] + 1)  # (N, K)
    margins[rows, y] = 0  # the right class does not compete with itself
    return margins.sum() / len(y), (margins, y)


def hinge_backward(dout, cache):
    """A max gate routes: each positive margin hands 1 to its score, and −1 to the right one's."""
    margins, y = cache
    rows = np.arange(len(y))
    ds = (margins > 0) * 1.0  # (N, K): 1 for each class that is too close
    ds[rows, y] = -ds.sum(axis=1)  # the right class is in all of them
    return dout * ds / len(y)
