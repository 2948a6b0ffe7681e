"""The last layer's sigmoid and the quadratic cost, samples as rows."""

import numpy as np


def bp1_forward(z, y):
    """Return C = 1/(2N) Σ_n ‖y_n − a_n‖², a = σ(z), and what backward needs; z, y (N, K)."""
    a = 1 / (1 + np.exp(-np.clip(z, -700, 700)))  # (N, K); cannot overflow
    return np.sum((y - a) ** 2) / (2 * len(z)), (a, y)


def bp1_backward(dout, cache):
    """BP1 as a product: δ = Σ′(z) ∇_a C, one diagonal matrix for each sample.

    a_k depends on z_k alone, so ∂a_k/∂z_j is σ′(z_j) for k = j, and else 0.
    """
    a, y = cache
    gradient = dout * (a - y) / len(a)  # ∇_a C (N, K)
    slopes = a * (1 - a)  # σ′(z) (N, K)
    jacobian = slopes[:, :, None] * np.eye(slopes.shape[1])  # Σ′(z) (N, K, K)
    return np.einsum("njk,nk->nj", jacobian, gradient)  # δ (N, K)
