"""One attention head: o = softmax(q kᵀ / √D) v, the softmax over each row."""

import numpy as np


def attention_forward(q, k, v):
    """Return o (T, M) and what backward needs; queries q (T, D), keys k (S, D), values v (S, M)."""
    s = q @ k.T / np.sqrt(q.shape[1])  # (T, S)
    e = np.exp(s - s.max(axis=1, keepdims=True))  # cannot overflow
    a = e / e.sum(axis=1, keepdims=True)  # (T, S), each row adds up to 1
    return a @ v, (q, k, v, a)


def attention_backward(dout, cache):
    """A row of the softmax has ∂a_j/∂s_l = a_j (1{j = l} − a_l).

    So ds_l = Σ_j da_j ∂a_j/∂s_l = a_l (da_l − Σ_j da_j a_j).
    """
    q, k, v, a = cache
    dv = a.T @ dout  # (S, M)
    da = dout @ v.T  # (T, S)
    ds = a * (da - (da * a).sum(axis=1, keepdims=True))  # (T, S)
    ds = ds / np.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, dv  # (T, D), (S, D), (S, M)
