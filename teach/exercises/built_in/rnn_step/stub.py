# handgrad exercise: rnn_step
"""One step of a vanilla RNN: h′ = tanh(x wx + h wh + b)."""

import numpy as np


def rnn_step_forward(x, h, wx, wh, b):
    """Return h′ (N, H) and what backward needs; x (N, D), h (N, H), wx (D, H), wh (H, H)."""
    new = np.tanh(x @ wx + h @ wh + b)
    return new, (x, h, wx, wh, new)


def rnn_step_backward(dout, cache):
    """Return dx (N, D), dh (N, H), dwx (D, H), dwh (H, H) and db (H,), in this order.

    dout (N, H) is the gradient of h′. Undo the tanh first.
    """
    x, h, wx, wh, new = cache
    raise NotImplementedError("fill in rnn_step_backward")
