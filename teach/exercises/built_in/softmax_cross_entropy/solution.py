"""Softmax and cross-entropy, averaged over the batch."""

import numpy as np


def softmax_loss_forward(x, y):
    """Return the loss, a number, and what backward needs; scores x (N, C), classes y (N,)."""
    rows = np.arange(len(y))
    shifted = x - x.max(axis=1, keepdims=True)  # exp cannot overflow
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[rows, y].mean(), (log_p, y)


def softmax_loss_backward(dout, cache):
    """log p_nk = x_nk − log Σ_j e^x_nj, and the sum's derivative with respect to x_nk is p_nk.

    So −log p_n,y_n has the derivative p_nk − 1{k = y_n}; the mean divides by N.
    """
    log_p, y = cache
    n = len(y)
    dx = np.exp(log_p)  # (N, C)
    dx[np.arange(n), y] -= 1  # p − 1{class}
    return dout * dx / n
