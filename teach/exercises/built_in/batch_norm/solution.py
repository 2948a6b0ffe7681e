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
    """With x̂ = (x − μ) s and g = dout γ, three terms, one per path from x to y:

    directly s g; through the mean −s mean(g); through the variance −s x̂ mean(g x̂).
    """
    normal, scale, gamma = cache
    g = dout * gamma  # (N, D)
    dx = scale * (g - g.mean(axis=0) - normal * (g * normal).mean(axis=0))  # (N, D)
    dgamma = (dout * normal).sum(axis=0)  # (D,)
    dbeta = dout.sum(axis=0)  # (D,)
    return dx, dgamma, dbeta
