"""Softmax loss with two mistakes: no division by N, and an exp that overflows."""

import numpy as np


def softmax_loss(x, y):
    rows = np.arange(len(y))
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    loss = -np.log(p[rows, y]).mean()
    dx = p.copy()
    dx[rows, y] -= 1
    return loss, dx
