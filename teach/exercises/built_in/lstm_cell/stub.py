# handgrad exercise: lstm_cell
"""One LSTM step: f, i, o = σ(…), g = tanh(…), c′ = f c + i g, h′ = o tanh c′."""

import numpy as np


def lstm_cell_forward(x, h, c, wx, wh, b):
    """Return (h′, c′), both (N, H), and what backward needs.

    x (N, D), h and c (N, H); for the gates i, f, o and the candidate g, in this order:
    wx (4, D, H), wh (4, H, H), b (4, H).
    """
    z = x @ wx + h @ wh + b[:, None, :]  # (4, N, H)
    *sigmoids, candidate = z
    i, f, o = 1 / (1 + np.exp(-np.clip(sigmoids, -700, 700)))  # cannot overflow
    g = np.tanh(candidate)
    new_c = f * c + i * g
    t = np.tanh(new_c)
    return (o * t, new_c), (x, h, c, wx, wh, i, f, o, g, t)


def lstm_cell_backward(dh, dc, cache):
    """Return dx, dh, dc, dwx, dwh, db, shaped as the inputs; given are those of (h′, c′).

    t is tanh c′. Begin at h′ = o t, and do not lose the other way into c′.
    """
    x, h, c, wx, wh, i, f, o, g, t = cache
    raise NotImplementedError("fill in lstm_cell_backward")
