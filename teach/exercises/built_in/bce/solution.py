"""Sigmoid with binary cross-entropy, the mean over N samples."""

import numpy as np


def bce_forward(z, y):
    """Return L and what backward needs; scores z (N,), labels y (N,), each 0 or 1."""
    small = np.exp(-np.abs(z))  # never overflows
    p = np.where(z >= 0, 1 / (1 + small), small / (1 + small))  # the sigmoid
    loss = np.maximum(z, 0) - z * y + np.log1p(small)  # −log p, or −log(1 − p)
    return np.mean(loss), (p, y)


def bce_backward(dout, cache):
    """dL/dp = (p − y) / (p (1 − p)) and dp/dz = p (1 − p): the slope cancels.

    The loss is a mean, so 1/N is left.
    """
    p, y = cache
    return dout * (p - y) / len(y)  # (N,)
