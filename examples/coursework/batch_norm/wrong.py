"""Batch normalisation with a mistake: the variance is treated as if it did not depend on x."""

import numpy as np

EPS = 1e-5


def batchnorm_forward(x, gamma, beta):
    centred = x - x.mean(axis=0)
    scale = 1 / np.sqrt((centred**2).mean(axis=0) + EPS)
    normal = centred * scale
    return gamma * normal + beta, (normal, scale, gamma)


def batchnorm_backward(dout, cache):
    normal, scale, gamma = cache
    dnormal = dout * gamma
    dx = scale * (dnormal - dnormal.mean(axis=0))
    return dx, (dout * normal).sum(axis=0), dout.sum(axis=0)
