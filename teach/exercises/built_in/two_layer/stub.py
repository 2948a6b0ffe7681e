# handgrad exercise: two_layer
"""A two-layer network: y = ReLU(x w1 + b1) w2 + b2."""

import numpy as np


def two_layer_forward(x, w1, b1, w2, b2):
    """Return y (N, C) and what backward needs; x (N, D), w1 (D, H), w2 (H, C)."""
    a = np.maximum(x @ w1 + b1, 0)  # (N, H)
    return a @ w2 + b2, (x, a, w1, w2)


def two_layer_backward(dout, cache):
    """Return dx (N, D), dw1 (D, H), db1 (H,), dw2 (H, C) and db2 (C,), in this order.

    From the output to the input: the second layer, the mask of the ReLU, the first layer.
    """
    x, a, w1, w2 = cache
    raise NotImplementedError("fill in two_layer_backward")
