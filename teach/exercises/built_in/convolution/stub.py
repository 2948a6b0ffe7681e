# handgrad exercise: convolution
"""Convolution of N pictures with one kernel (as networks have it: not turned around)."""

import numpy as np


def convolution_forward(x, w):
    """Return y (N, H − K + 1, W − L + 1) and what backward needs; x (N, H, W), w (K, L)."""
    rows, columns = x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1
    y = np.zeros((len(x), rows, columns))
    for k in range(w.shape[0]):
        for j in range(w.shape[1]):
            y = y + x[:, k : k + rows, j : j + columns] * w[k, j]
    return y, (x, w)


def convolution_backward(dout, cache):
    """Return dx (N, H, W) and dw (K, L).

    Loop over k and j, as forward does, and ask for each product where its two factors came from.
    """
    x, w = cache
    raise NotImplementedError("fill in convolution_backward")
