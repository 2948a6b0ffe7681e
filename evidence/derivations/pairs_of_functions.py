"""Right forward and backward passes: activations, recurrent cells, attention, linear algebra.

As `pairs_of_layers.py`, whose table goes on here.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from evidence.derivations.given import MASK, ORDINARY, Checked


# ── activations ──────────────────────────────────────────────────────────────────────────────────
def relu(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    x = cache
    return dout * (x > 0)


def leaky_relu(x, alpha=0.1):
    return np.where(x > 0, x, alpha * x), (x, alpha)


def leaky_relu_backward(dout, cache):
    x, alpha = cache
    dx = dout.copy()
    dx[x <= 0] *= alpha
    return dx


def elu(x):
    alpha = 0.7
    y = np.where(x > 0, x, alpha * (np.exp(x) - 1))
    return y, (x, y, alpha)


def elu_backward(dout, cache):
    x, y, alpha = cache
    return dout * np.where(x > 0, 1, y + alpha)


def sigmoid(x):
    s = 1 / (1 + np.exp(-x))
    return s, s


def sigmoid_backward(dout, cache):
    s = cache
    return dout * s * (1 - s)


def tanh(x):
    t = np.tanh(x)
    return t, (x, t)


def tanh_backward(dout, cache):
    x, t = cache
    return dout * (1 - t**2)


def gelu(x):
    c = np.sqrt(2 / np.pi)
    u = c * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(u)), x


def gelu_backward(dout, cache):
    x = cache
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    du = c * (1 + 3 * 0.044715 * x**2)
    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


def silu(x):
    s = 1 / (1 + np.exp(-x))
    return x * s, (x, s)


def silu_backward(dout, cache):
    x, s = cache
    return dout * (s + x * s * (1 - s))


def softplus(x):
    beta = 2.0
    return np.log(1 + np.exp(beta * x)) / beta, (x, beta)


def softplus_backward(dout, cache):
    x, beta = cache
    return dout / (1 + np.exp(-beta * x))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    s = e / e.sum(axis=1, keepdims=True)
    return s, s


def softmax_backward(dout, cache):
    s = cache
    return s * (dout - (dout * s).sum(axis=1, keepdims=True))


def log_softmax(x):
    z = x - x.max(axis=1, keepdims=True)
    y = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return y, y


def log_softmax_backward(dout, cache):
    y = cache
    return dout - np.exp(y) * dout.sum(axis=1, keepdims=True)


def logsumexp(x):
    m = x.max(axis=1, keepdims=True)
    e = np.exp(x - m)
    total = e.sum(axis=1, keepdims=True)
    return (m + np.log(total))[:, 0], (e, total)


def logsumexp_backward(dout, cache):
    e, total = cache
    return dout[:, None] * e / total


def row_max(x):
    return x.max(axis=1), x


def row_max_backward(dout, cache):
    x = cache
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), x.argmax(axis=1)] = dout
    return dx


# ── cells and attention ──────────────────────────────────────────────────────────────────────────
def rnn_step(x, h, wx, wh, b):
    a = x @ wx + h @ wh + b
    h_next = np.tanh(a)
    return h_next, (x, h, wx, wh, h_next)


def rnn_step_backward(dh_next, cache):
    x, h, wx, wh, h_next = cache
    da = dh_next * (1 - h_next**2)
    dx = da @ wx.T
    dh = da @ wh.T
    dwx = x.T @ da
    dwh = h.T @ da
    db = da.sum(axis=0)
    return dx, dh, dwx, dwh, db


def rnn(x, h0, wx, wh):
    N, T, D = x.shape
    h, states = h0, []
    for t in range(T):
        h = np.tanh(x[:, t].dot(wx) + h.dot(wh))
        states.append(h)
    return np.stack(states, axis=1), (x, h0, wx, wh, states)


def rnn_backward(dout, cache):
    x, h0, wx, wh, states = cache
    N, T, D = x.shape
    dx, dwx, dwh = np.zeros_like(x), np.zeros_like(wx), np.zeros_like(wh)
    dh = np.zeros_like(h0)
    for t in range(T - 1, -1, -1):
        da = (dout[:, t] + dh) * (1 - states[t] ** 2)
        prev = states[t - 1] if t > 0 else h0
        dx[:, t] = da.dot(wx.T)
        dwx += x[:, t].T.dot(da)
        dwh += prev.T.dot(da)
        dh = da.dot(wh.T)
    return dx, dh, dwx, dwh


def lstm_step(x, h, c, wx, wh, b):
    H = h.shape[1]
    a = x.dot(wx) + h.dot(wh) + b
    i = 1 / (1 + np.exp(-a[:, :H]))
    f = 1 / (1 + np.exp(-a[:, H : 2 * H]))
    o = 1 / (1 + np.exp(-a[:, 2 * H : 3 * H]))
    g = np.tanh(a[:, 3 * H :])
    c_next = f * c + i * g
    h_next = o * np.tanh(c_next)
    return h_next, c_next, (x, h, c, wx, wh, i, f, o, g, c_next)


def lstm_step_backward(dh_next, dc_next, cache):
    x, h, c, wx, wh, i, f, o, g, c_next = cache
    t = np.tanh(c_next)
    do = dh_next * t
    dc = dc_next + dh_next * o * (1 - t**2)
    df = dc * c
    di = dc * g
    dg = dc * i
    dc_prev = dc * f
    da = np.hstack((di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)))
    return da.dot(wx.T), da.dot(wh.T), dc_prev, x.T.dot(da), h.T.dot(da), da.sum(axis=0)


def gru_mix(h, z, n):
    s = 1 / (1 + np.exp(-z))
    t = np.tanh(n)
    return (1 - s) * t + s * h, (h, s, t)


def gru_mix_backward(dout, cache):
    h, s, t = cache
    dh = dout * s
    dz = dout * (h - t) * s * (1 - s)
    dn = dout * (1 - s) * (1 - t**2)
    return dh, dz, dn


def attention(q, k, v):
    d = q.shape[-1]
    scores = q @ k.T / np.sqrt(d)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p @ v, (q, k, v, p, d)


def attention_backward(dout, cache):
    q, k, v, p, d = cache
    dv = p.T @ dout
    dp = dout @ v.T
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    ds = ds / np.sqrt(d)
    dq = ds @ k
    dk = ds.T @ q
    return dq, dk, dv


# ── distances and linear algebra ─────────────────────────────────────────────────────────────────
def rbf(x, y):
    gamma = 0.3
    d2 = ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2)
    k = np.exp(-gamma * d2)
    return k, (x, y, k, gamma)


def rbf_backward(dout, cache):
    x, y, k, gamma = cache
    g = -2 * gamma * dout * k
    diff = x[:, None, :] - y[None, :, :]
    dx = (g[:, :, None] * diff).sum(axis=1)
    dy = -(g[:, :, None] * diff).sum(axis=0)
    return dx, dy


def cdist(x, y):
    diff = x[:, None, :] - y[None, :, :]
    d = np.sqrt((diff**2).sum(axis=-1))
    return d, (diff, d)


def cdist_backward(dout, cache):
    diff, d = cache
    w = (dout / d)[:, :, None] * diff
    return w.sum(axis=1), -w.sum(axis=0)


def cosine(a, b):
    na = np.sqrt((a * a).sum(axis=1))
    nb = np.sqrt((b * b).sum(axis=1))
    c = (a * b).sum(axis=1) / (na * nb)
    return c, (a, b, na, nb, c)


def cosine_backward(dout, cache):
    a, b, na, nb, c = cache
    da = b / (na * nb)[:, None] - a * (c / na**2)[:, None]
    db = a / (na * nb)[:, None] - b * (c / nb**2)[:, None]
    return dout[:, None] * da, dout[:, None] * db


def normalise(x):
    n = np.sqrt((x * x).sum(axis=1, keepdims=True))
    y = x / n
    return y, (y, n)


def normalise_backward(dout, cache):
    y, n = cache
    return (dout - y * (dout * y).sum(axis=1, keepdims=True)) / n


def std(x):
    m = x.mean()
    s = np.sqrt(((x - m) ** 2).sum() / (x.size - 1))
    return s, (x, m, s)


def std_backward(dout, cache):
    x, m, s = cache
    return dout * (x - m) / ((x.size - 1) * s)


def inverse(a):
    b = np.linalg.inv(a)
    return b, b


def inverse_backward(dout, cache):
    b = cache
    return -b.T @ dout @ b.T


def solve(a, b):
    x = np.linalg.solve(a, b)
    return x, (a, x)


def solve_backward(dout, cache):
    a, x = cache
    db = np.linalg.solve(a.T, dout)
    da = -db @ x.T
    return da, db


def logdet(a):
    return np.linalg.slogdet(a)[1], a


def logdet_backward(dout, cache):
    a = cache
    return dout * np.linalg.inv(a).T


def bilinear(x, w, y):
    return np.einsum("ni,oij,nj->no", x, w, y), (x, w, y)


def bilinear_backward(dout, cache):
    x, w, y = cache
    dx = np.einsum("no,oij,nj->ni", dout, w, y)
    dw = np.einsum("no,ni,nj->oij", dout, x, y)
    dy = np.einsum("no,oij,ni->nj", dout, w, x)
    return dx, dw, dy


def outer_sum(a, b):
    return a[:, None] * b[None, :] + a[:, None], (a, b)


def outer_sum_backward(dout, cache):
    a, b = cache
    da = dout @ b + dout.sum(axis=1)
    db = dout.T @ a
    return da, db


def residual(x, w):
    h = x @ w
    return x + np.tanh(h), (x, w, h)


def residual_backward(dout, cache):
    x, w, h = cache
    dh = dout * (1 - np.tanh(h) ** 2)
    dx = dout + dh @ w.T
    dw = x.T @ dh
    return dx, dw


def product(x):
    p = x.prod(axis=1)
    return p, (x, p)


def product_backward(dout, cache):
    x, p = cache
    dx = np.ones_like(x)
    for j in range(x.shape[1]):
        dx[:, j] = np.delete(x, j, axis=1).prod(axis=1)
    return dout[:, None] * dx


def cumsum(x):
    return np.cumsum(x, axis=1), None


def cumsum_backward(dout, cache):
    return np.cumsum(dout[:, ::-1], axis=1)[:, ::-1]


def masked_mean(x, mask):
    count = mask.sum()
    return (x * mask).sum() / count, (mask, count)


def masked_mean_backward(dout, cache):
    mask, count = cache
    return dout * mask / count


def _rnn(x, h, wx, wh):
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ wx + h @ wh)
        states.append(h)
    return torch.stack(states, 1)


def _lstm_step(x, h, c, wx, wh, b):
    i, f, o, g = (x @ wx + h @ wh + b).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_mix(h, z, n):
    s = torch.sigmoid(z)
    return (1 - s) * torch.tanh(n) + s * h


def _attention(q, k, v):
    return torch.softmax(q @ k.T / q.shape[-1] ** 0.5, -1) @ v


def _rbf(x, y):
    return torch.exp(-0.3 * ((x[:, None] - y[None]) ** 2).sum(2))


X, CELL = {"x": (5, 4)}, {"x": (3, 4), "h": (3, 5), "wx": (4, 5), "wh": (5, 5), "b": (5,)}
SQUARE = np.random.default_rng(2).standard_normal((4, 4)) + 4 * np.eye(4)
CHECKED: dict[str, Checked] = {
    "relu": (torch.relu, X, {}),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), X, {}),
    "elu": (lambda x: F.elu(x, 0.7), X, {}),
    "sigmoid": (torch.sigmoid, X, {}),
    "tanh": (torch.tanh, X, {}),
    "gelu": (lambda x: F.gelu(x, approximate="tanh"), X, {}),
    "silu": (F.silu, X, {}),
    "softplus": (lambda x: F.softplus(x, 2.0), X, ORDINARY),
    "softmax": (lambda x: torch.softmax(x, 1), X, {}),
    "log_softmax": (lambda x: torch.log_softmax(x, 1), X, {}),
    "logsumexp": (lambda x: torch.logsumexp(x, 1), X, {}),
    "row_max": (lambda x: x.max(1).values, X, {}),
    "rnn_step": (lambda x, h, wx, wh, b: torch.tanh(x @ wx + h @ wh + b), CELL, {}),
    "rnn": (_rnn, {"x": (2, 3, 4), "h0": (2, 5), "wx": (4, 5), "wh": (5, 5)}, {}),
    "lstm_step": (
        _lstm_step,
        {"x": (3, 4), "h": (3, 2), "c": (3, 2), "wx": (4, 8), "wh": (2, 8), "b": (8,)},
        {"resize": False},
    ),
    "gru_mix": (_gru_mix, {"h": (4, 3), "z": (4, 3), "n": (4, 3)}, {}),
    "attention": (_attention, {"q": (4, 3), "k": (5, 3), "v": (5, 6)}, {}),
    "rbf": (_rbf, {"x": (4, 3), "y": (5, 3)}, {}),
    "cdist": (torch.cdist, {"x": (4, 3), "y": (5, 3)}, ORDINARY),
    "cosine": (F.cosine_similarity, {"a": (4, 3), "b": (4, 3)}, ORDINARY),
    "normalise": (F.normalize, X, ORDINARY),
    "std": (torch.std, {"x": (7,)}, {}),
    "inverse": (torch.linalg.inv, {"a": SQUARE}, {}),
    "solve": (torch.linalg.solve, {"a": SQUARE, "b": (4, 2)}, {}),
    "logdet": (lambda a: torch.linalg.slogdet(a)[1], {"a": SQUARE}, ORDINARY),
    "bilinear": (
        lambda x, w, y: torch.einsum("ni,oij,nj->no", x, w, y),
        {"x": (4, 3), "w": (2, 3, 5), "y": (4, 5)}, {},
    ),
    "outer_sum": (lambda a, b: a[:, None] * b + a[:, None], {"a": (4,), "b": (3,)}, {}),
    "residual": (lambda x, w: x + torch.tanh(x @ w), {"x": (4, 3), "w": (3, 3)}, {}),
    "product": (lambda x: x.prod(1), {"x": (4, 3)}, {}),
    "cumsum": (lambda x: x.cumsum(1), X, {}),
    "masked_mean": (
        lambda x, mask: (x * mask).sum() / mask.sum(),
        {"x": (5, 4), "mask": MASK}, {"no_grad": ["mask"]},
    ),
}  # fmt: skip
