"""Batch normalisation over the rows, in training: the mean and the variance of this batch."""

import numpy as np

EPS = 1e-5


def batchnorm_forward(x, gamma, beta):
    centred = x - x.mean(axis=0)
    scale = 1 / np.sqrt((centred**2).mean(axis=0) + EPS)  # the variance divides by N
    normal = centred * scale
    return gamma * normal + beta, (normal, scale, gamma)


def batchnorm_backward(dout, cache):
    """x reaches the output three ways: directly, through the mean, and through the variance."""
    normal, scale, gamma = cache
    dnormal = dout * gamma
    dx = scale * (dnormal - dnormal.mean(axis=0) - normal * (dnormal * normal).mean(axis=0))
    return dx, (dout * normal).sum(axis=0), dout.sum(axis=0)
