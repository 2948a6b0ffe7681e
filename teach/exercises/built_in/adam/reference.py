import torch

RATE, BETA1, BETA2, EPSILON, STEP = 0.1, 0.9, 0.99, 1e-2, 3


def reference(p, g, m, r):
    m_hat = (BETA1 * m + (1 - BETA1) * g) / (1 - BETA1**STEP)
    v_hat = (BETA2 * r**2 + (1 - BETA2) * g**2) / (1 - BETA2**STEP)
    return p - RATE * m_hat / torch.sqrt(v_hat + EPSILON)
