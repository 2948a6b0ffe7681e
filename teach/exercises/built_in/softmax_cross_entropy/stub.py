# handgrad exercise: softmax_cross_entropy
"""Softmax and cross-entropy, averaged over the batch."""

import numpy as np


def softmax_loss_forward(x, y):
    """Return the loss, a number, and what backward needs; scores x (N, C), classes y (N,)."""
    rows = np.arange(len(y))
    shifted = x - x.max(axis=1, keepdims=True)  # exp cannot overflow
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[rows, y].mean(), (log_p, y)


def softmax_loss_backward(dout, cache):
    """Return dx (N, C).

    dout is the upstream gradient of the loss, a number that need not be 1. Do not change the cache:
    p = np.exp(log_p) is an array of your own.
    """
    log_p, y = cache
    raise NotImplementedError("fill in softmax_loss_backward")
