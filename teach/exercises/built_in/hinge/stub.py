# handgrad exercise: hinge
"""The multi-class hinge: the mean over samples of Σ max(0, s_j − s_right + 1), j ≠ right."""

import numpy as np


def hinge_forward(s, y):
    """Return L and what backward needs; scores s (N, K), labels y (N,)."""
    rows = np.arange(len(y))
    margins = np.maximum(0, s - s[rows, y][:, None] + 1)  # (N, K)
    margins[rows, y] = 0  # the right class does not compete with itself
    return margins.sum() / len(y), (margins, y)


def hinge_backward(dout, cache):
    """Return ds (N, K); dout is a number.

    In how many margins of its row is the right class's score?
    """
    margins, y = cache
    raise NotImplementedError("fill in hinge_backward")
