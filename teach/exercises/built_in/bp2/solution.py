"""A sigmoid, then a linear layer: Z = σ(z) w + b, samples as rows."""

import numpy as np


def bp2_forward(z, w, b):
    """Return Z (N, K) and what backward needs; weighted inputs z (N, J), w (J, K), b (K,)."""
    a = 1 / (1 + np.exp(-np.clip(z, -700, 700)))  # (N, J); cannot overflow
    return a @ w + b, (z, a, w)


def bp2_backward(delta, cache):
    """BP2: δ^l = (δ^(l+1) wᵀ) ⊙ σ′(z), as z_nj reaches every Z_nk through a_nj.

    BP4 and BP3 give w and b.
    """
    _, a, w = cache
    dz = (delta @ w.T) * a * (1 - a)  # (N, J)
    return dz, a.T @ delta, delta.sum(axis=0)  # (N, J), (J, K), (K,)
