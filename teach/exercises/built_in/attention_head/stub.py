# handgrad exercise: attention_head
"""One attention head: o = softmax(q kᵀ / √D) v, the softmax over each row."""

import numpy as np


def attention_forward(q, k, v):
    """Return o (T, M) and what backward needs; queries q (T, D), keys k (S, D), values v (S, M)."""
    s = q @ k.T / np.sqrt(q.shape[1])  # (T, S)
    e = np.exp(s - s.max(axis=1, keepdims=True))  # cannot overflow
    a = e / e.sum(axis=1, keepdims=True)  # (T, S), each row adds up to 1
    return a @ v, (q, k, v, a)


def attention_backward(dout, cache):
    """Return dq (T, D), dk (S, D) and dv (S, M).

    Three steps: o = a v, the softmax of each row, s = q kᵀ / √D.
    """
    q, k, v, a = cache
    raise NotImplementedError("fill in attention_backward")
