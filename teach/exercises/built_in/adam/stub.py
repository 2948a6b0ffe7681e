# handgrad exercise: adam
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
    """Return dp, dg, dm and dr, all shaped as p.

    g reaches p′ in two ways, through the mean m̂ and through the root u.
    """
    g, r, m_hat, u = cache
    raise NotImplementedError("fill in adam_backward")
