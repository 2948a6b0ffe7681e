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
    """Every product x_n,i+k,j+l w_kl of y_nij hands dout_nij times one factor to the other."""
    x, w = cache
    _, rows, columns = dout.shape
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for k in range(w.shape[0]):
        for j in range(w.shape[1]):
            dx[:, k : k + rows, j : j + columns] += dout * w[k, j]
            dw[k, j] = np.sum(dout * x[:, k : k + rows, j : j + columns])
    return dx, dw  # (N, H, W), (K, L)
