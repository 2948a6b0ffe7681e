"""The third step of Adam, with ε inside of the root: p′ = p − η m̂ / √(v̂ + ε)."""

import numpy as np

RATE, BETA1, BETA2, EPSILON, STEP = 0.1, 0.9, 0.99, 1e-2, 3


def adam_forward(p, g, m, r):
    """Return p′ and what backward needs; parameter p, its gradient g, memories m and v = r²."""
    m_hat = (BETA1 * m + (1 - BETA1) * g) / (1 - BETA1**STEP)
    v_hat = (BETA2 * r**2 + (1 - BETA2) * g**2) / (1 - BETA2**STEP)
    u = np.sqrt(v_hat + EPSILON)
    return p - RATE * m_hat / u, (g, r, m_hat, u)


def adam_backward(dout, cache):
    """p′ is a quotient: d(m̂/u) = dm̂/u − m̂ du/u², and du = dv̂/(2u).

    g is in both memories, so its gradient has two shares.
    """
    g, r, m_hat, u = cache
    dm = -dout * RATE / u / (1 - BETA1**STEP)  # of β₁ m + (1 − β₁) g
    dv = dout * RATE * m_hat / (2 * u**3) / (1 - BETA2**STEP)  # of β₂ r² + (1 − β₂) g²
    dg = (1 - BETA1) * dm + (1 - BETA2) * 2 * g * dv
    return dout, dg, BETA1 * dm, BETA2 * 2 * r * dv
