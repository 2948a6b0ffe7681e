"""A two-layer network: y = ReLU(x w1 + b1) w2 + b2."""

import numpy as np


def two_layer_forward(x, w1, b1, w2, b2):
    """Return y (N, C) and what backward needs; x (N, D), w1 (D, H), w2 (H, C)."""
    a = np.maximum(x @ w1 + b1, 0)  # (N, H)
    return a @ w2 + b2, (x, a, w1, w2)


def two_layer_backward(dout, cache):
    """The layers' own rules, in reverse: linear, ReLU, linear."""
    x, a, w1, w2 = cache
    dw2 = a.T @ dout  # (H, C)
    db2 = dout.sum(axis=0)  # (C,)
    da = dout @ w2.T  # (N, H)
    dz = da * (a > 0)  # (N, H)
    dw1 = x.T @ dz  # (D, H)
    db1 = dz.sum(axis=0)  # (H,)
    return dz @ w1.T, dw1, db1, dw2, db2
