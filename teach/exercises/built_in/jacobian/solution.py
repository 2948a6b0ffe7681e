"""Softmax of each row: y_i = exp(x_i) / Σ_j exp(x_j)."""

import numpy as np


def jacobian_forward(x):
    """Return y (N, K), each row adding up to 1, and what backward needs; x (N, K)."""
    e = np.exp(x - x.max(axis=1, keepdims=True))  # cannot overflow
    y = e / e.sum(axis=1, keepdims=True)
    return y, y


def jacobian_backward(dout, cache):
    """With J_ij = y_i (1{i = j} − y_j) of a row, dx = Jᵀ dout, written without J:

    dx_j = Σ_i dout_i y_i (1{i = j} − y_j) = y_j dout_j − y_j Σ_i dout_i y_i.
    """
    y = cache
    return y * (dout - (dout * y).sum(axis=1, keepdims=True))  # (N, K)
