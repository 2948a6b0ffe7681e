# handgrad exercise: batch_norm
"""Batch normalisation over the rows, in training: mean and variance of this batch."""

import numpy as np

EPS = 1e-5


def batch_norm_forward(x, gamma, beta):
    """Return y (N, D) and what backward needs; x (N, D), gamma and beta (D,)."""
    centred = x - x.mean(axis=0)
    scale = 1 / np.sqrt((centred**2).mean(axis=0) + EPS)  # the variance divides by N
    normal = centred * scale
    return gamma * normal + beta, (normal, scale, gamma)


def batch_norm_backward(dout, cache):
    """Return dx (N, D), dgamma and dbeta (D,).

    Every x_nd moves the mean and the variance of its column, and through them the whole column.
    """
    normal, scale, gamma = cache
    raise NotImplementedError("fill in batch_norm_backward")
