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
    """h′ = o tanh c′ first, then c′ = f c + i g, the gates' slopes, four linear layers."""
    x, h, c, wx, wh, i, f, o, g, t = cache
    dc = dc + dh * o * (1 - t * t)  # (N, H): c′ goes on, and into h′
    di, df, do = dc * g * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o)
    dz = np.stack([di, df, do, dc * i * (1 - g * g)])  # (4, N, H)
    dx = (dz @ np.swapaxes(wx, 1, 2)).sum(axis=0)  # (N, D)
    dh = (dz @ np.swapaxes(wh, 1, 2)).sum(axis=0)  # (N, H)
    return dx, dh, dc * f, x.T @ dz, h.T @ dz, dz.sum(axis=1)
