# handgrad exercise: sigmoid_chain
"""One neuron as a chain of gates: f = 1 / (1 + exp(−(x·w + b)))."""

import numpy as np


def neuron_forward(x, w, b):
    """Return f (N,) and what backward needs; x (N, D), w (D,), b a number."""
    z = x @ w + b
    small = np.exp(-np.abs(z))  # never overflows
    f = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return f, (x, w, f)


def neuron_backward(dout, cache):
    """Return dx (N, D), dw (D,) and db, a number.

    dout (N,) is the upstream gradient. Go back gate by gate: 1/q, 1 + e, exp, −1 ×, +, ×. The four
    gates of the sigmoid together have a short local gradient in terms of f.
    """
    x, w, f = cache
    raise NotImplementedError("fill in neuron_backward")
