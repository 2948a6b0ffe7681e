"""One neuron as a chain of gates: f = 1 / (1 + exp(−(x·w + b)))."""

import numpy as np


def neuron_forward(x, w, b):
    """Return f (N,) and what backward needs; x (N, D), w (D,), b a number."""
    z = x @ w + b
    small = np.exp(-np.abs(z))  # never overflows
    f = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return f, (x, w, f)


def neuron_backward(dout, cache):
    """With q = 1 + e^−z: df/dq = −1/q² = −f², dq/dz = −e^−z = −(1 − f)/f; together f (1 − f)."""
    x, w, f = cache
    dz = dout * f * (1 - f)  # (N,)
    dx = np.outer(dz, w)  # (N, D)
    dw = dz @ x  # (D,): n is summed
    db = dz.sum()  # every row uses b
    return dx, dw, db
