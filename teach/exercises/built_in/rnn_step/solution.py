"""One step of a vanilla RNN: h′ = tanh(x wx + h wh + b)."""

import numpy as np


def rnn_step_forward(x, h, wx, wh, b):
    """Return h′ (N, H) and what backward needs; x (N, D), h (N, H), wx (D, H), wh (H, H)."""
    new = np.tanh(x @ wx + h @ wh + b)
    return new, (x, h, wx, wh, new)


def rnn_step_backward(dout, cache):
    """tanh′ in terms of the output: 1 − h′². Then z = x wx + h wh + b, twice the linear layer."""
    x, h, wx, wh, new = cache
    dz = dout * (1 - new) * (1 + new)  # (N, H)
    dwx, dwh = x.T @ dz, h.T @ dz  # (D, H), (H, H)
    return dz @ wx.T, dz @ wh.T, dwx, dwh, dz.sum(axis=0)
