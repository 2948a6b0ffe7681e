"""Right losses and their gradients as course solutions have them.

Each `NAME_backward` belongs to the function `NAME`; a loss may return its gradient itself.
`CHECKED` says how each is checked: the torch function, the inputs, further arguments of `check`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from evidence.derivations.given import BITS, ORDINARY, Y4, Checked


def softmax_loss(x, y):
    shifted = x - np.max(x, axis=1, keepdims=True)
    probs = np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True)
    N = x.shape[0]
    loss = -np.sum(np.log(probs[np.arange(N), y])) / N
    dx = probs.copy()
    dx[np.arange(N), y] -= 1
    dx /= N
    return loss, dx


def cross_entropy(w, x, y):
    reg = 0.05
    scores = x.dot(w)
    scores = scores - scores.max(axis=1, keepdims=True)
    p = np.exp(scores)
    p = p / p.sum(axis=1, keepdims=True)
    N = len(y)
    loss = -np.log(p[np.arange(N), y]).mean() + reg * np.sum(w * w)
    p[np.arange(N), y] -= 1
    dw = x.T.dot(p) / N
    dw += 2 * reg * w
    return loss, dw


def svm_loss(x, y):
    N = x.shape[0]
    correct = x[np.arange(N), y]
    margins = np.maximum(0, x - correct[:, None] + 1.0)
    margins[np.arange(N), y] = 0
    loss = margins.sum() / N
    positive = (margins > 0).sum(axis=1)
    dx = np.zeros_like(x)
    dx[margins > 0] = 1
    dx[np.arange(N), y] -= positive
    dx /= N
    return loss, dx


def svm_naive(w, x, y):
    reg = 0.1
    dw = np.zeros(w.shape)
    N, loss = x.shape[0], 0.0
    for i in range(N):
        scores = x[i].dot(w)
        for j in range(w.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if margin > 0:
                loss += margin
                dw[:, j] += x[i]
                dw[:, y[i]] -= x[i]
    loss = loss / N + reg * np.sum(w * w)
    dw = dw / N + 2 * reg * w
    return loss, dw


def mse(pred, target):
    diff = pred - target
    return (diff**2).mean(), diff


def mse_backward(dout, cache):
    diff = cache
    d = 2 * diff * dout / diff.size
    return d, -d


def huber(pred, target):
    delta = 0.8
    r = pred - target
    small = np.abs(r) <= delta
    out = np.where(small, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta))
    return out, (r, small, delta)


def huber_backward(dout, cache):
    r, small, delta = cache
    dpred = np.where(small, r, delta * np.sign(r)) * dout
    return dpred, -dpred


def bce_logits(z, t):
    p = 1 / (1 + np.exp(-z))
    loss = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    return loss, (p, t)


def bce_logits_backward(dout, cache):
    p, t = cache
    return dout * (p - t) / p.size


def focal(z, t):
    gamma = 2.0
    p = 1 / (1 + np.exp(-z))
    pt = np.where(t == 1, p, 1 - p)
    return -((1 - pt) ** gamma) * np.log(pt), (p, pt, t, gamma)


def focal_backward(dout, cache):
    p, pt, t, gamma = cache
    dpt = gamma * (1 - pt) ** (gamma - 1) * np.log(pt) - (1 - pt) ** gamma / pt
    dz = dpt * np.where(t == 1, 1, -1) * p * (1 - p)
    return dout * dz


def triplet(a, p, n):
    margin = 1.0
    dp = ((a - p) ** 2).sum(axis=1)
    dn = ((a - n) ** 2).sum(axis=1)
    v = dp - dn + margin
    return np.maximum(v, 0).mean(), (a, p, n, v)


def triplet_backward(dout, cache):
    a, p, n, v = cache
    on = (v > 0)[:, None] * dout / len(v)
    da = 2 * (n - p) * on
    return da, -2 * (a - p) * on, 2 * (a - n) * on


def contrastive(x1, x2, y):
    m = 3.0
    d = np.sqrt(((x1 - x2) ** 2).sum(axis=1))
    gap = np.maximum(m - d, 0)
    loss = (y * d**2 + (1 - y) * gap**2).mean()
    return loss, (x1, x2, y, d, gap)


def contrastive_backward(dout, cache):
    x1, x2, y, d, gap = cache
    c = (2 * y - 2 * (1 - y) * gap / d) / len(d)
    dx1 = dout * c[:, None] * (x1 - x2)
    return dx1, -dx1


def kl(mu, logvar):
    loss = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar)) / mu.shape[0]
    return loss, (mu, logvar)


def kl_backward(dout, cache):
    mu, logvar = cache
    N = mu.shape[0]
    dmu = mu / N
    dlogvar = 0.5 * (np.exp(logvar) - 1) / N
    return dout * dmu, dout * dlogvar


def _cross_entropy(w, x, y):
    return F.cross_entropy(x @ w, y) + 0.05 * (w * w).sum()


def _svm(x, y):
    margins = (x - x.gather(1, y[:, None]) + 1).clamp(min=0)
    return (margins.sum() - len(y)) / len(y)


def _focal(z, t):
    p = torch.sigmoid(z)
    pt = torch.where(t == 1, p, 1 - p)
    return -((1 - pt) ** 2) * torch.log(pt)


def _triplet(a, p, n):
    return torch.relu(((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + 1).mean()


def _contrastive(x1, x2, y):
    d = ((x1 - x2) ** 2).sum(1).sqrt()
    return (y * d**2 + (1 - y) * torch.relu(3 - d) ** 2).mean()


CHECKED: dict[str, Checked] = {
    "softmax_loss": (F.cross_entropy, {"x": (4, 3), "y": Y4}, {}),
    "cross_entropy": (
        _cross_entropy, {"w": (5, 3), "x": (4, 5), "y": Y4}, {"no_grad": ["x"], **ORDINARY},
    ),
    "svm_loss": (_svm, {"x": (4, 3), "y": Y4}, {}),
    "svm_naive": (
        lambda w, x, y: _svm(x @ w, y) + 0.1 * (w * w).sum(),
        {"w": (5, 3), "x": (4, 5), "y": Y4}, {"no_grad": ["x"]},
    ),
    "mse": (F.mse_loss, {"pred": (4, 3), "target": (4, 3)}, {}),
    "huber": (
        lambda p, t: F.huber_loss(p, t, delta=0.8, reduction="none"),
        {"pred": (5, 4), "target": (5, 4)}, {},
    ),
    "bce_logits": (
        F.binary_cross_entropy_with_logits, {"z": (4, 3), "t": BITS},
        {"no_grad": ["t"], **ORDINARY},
    ),
    "focal": (_focal, {"z": (4, 3), "t": BITS}, {"no_grad": ["t"]}),
    "triplet": (_triplet, {"a": (5, 3), "p": (5, 3), "n": (5, 3)}, {}),
    "contrastive": (
        _contrastive,
        {"x1": (5, 3), "x2": (5, 3), "y": np.array([1.0, 0, 0, 1, 0])}, {"no_grad": ["y"]},
    ),
    "kl": (
        lambda m, v: -0.5 * (1 + v - m**2 - v.exp()).sum() / m.shape[0],
        {"mu": (4, 3), "logvar": (4, 3)}, {},
    ),
}  # fmt: skip
