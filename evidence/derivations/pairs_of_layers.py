"""Right forward and backward passes as course solutions have them: layers.

Each `NAME_backward` belongs to the function `NAME`. `CHECKED` says how each is checked: the torch
function, the inputs, and further arguments of `check`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from evidence.derivations.given import MASK, Checked


def affine(x, w, b):
    out = x @ w + b
    return out, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    dx = dout @ w.T
    dw = x.T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db


def affine_image(x, w, b):
    out = x.reshape(x.shape[0], -1).dot(w) + b
    return out, (x, w, b)


def affine_image_backward(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(N, -1).T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


def sequence_affine(x, w, b):
    N, T, D = x.shape
    out = x.reshape(N * T, D).dot(w).reshape(N, T, -1) + b
    return out, (x, w, b)


def sequence_affine_backward(dout, cache):
    x, w, b = cache
    N, T, D = x.shape
    M = b.shape[0]
    dx = dout.reshape(N * T, M).dot(w.T).reshape(N, T, D)
    dw = x.reshape(N * T, D).T.dot(dout.reshape(N * T, M))
    db = dout.sum(axis=(0, 1))
    return dx, dw, db


def batch_norm(x, gamma, beta):
    eps = 1e-5
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    std = np.sqrt(var + eps)
    xhat = (x - mean) / std
    out = gamma * xhat + beta
    return out, (x, xhat, mean, std, gamma)


def batch_norm_backward(dout, cache):
    x, xhat, mean, std, gamma = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    dx = (N * dxhat - np.sum(dxhat, axis=0) - xhat * np.sum(dxhat * xhat, axis=0)) / (N * std)
    return dx, dgamma, dbeta


def batch_norm_steps(x, gamma, beta, eps=1e-5):
    N, D = x.shape
    mu = 1.0 / N * np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu**2
    var = 1.0 / N * np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    out = gamma * xhat + beta
    return out, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)


def batch_norm_steps_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta


def layer_norm(x, gamma, beta):
    mean = x.mean(axis=1, keepdims=True)
    var = x.var(axis=1, keepdims=True)
    std = np.sqrt(var + 1e-5)
    xhat = (x - mean) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def layer_norm_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma = (dout * xhat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    dxhat = dout * gamma
    m1 = dxhat.mean(axis=1, keepdims=True)
    m2 = (dxhat * xhat).mean(axis=1, keepdims=True)
    dx = (dxhat - m1 - xhat * m2) / std
    return dx, dgamma, dbeta


def group_norm(x, gamma, beta):
    N, C, H, W = x.shape
    G = 2
    xg = x.reshape(N, G, -1)
    mean = xg.mean(axis=2, keepdims=True)
    std = np.sqrt(xg.var(axis=2, keepdims=True) + 1e-5)
    xhat = ((xg - mean) / std).reshape(x.shape)
    out = gamma.reshape(1, C, 1, 1) * xhat + beta.reshape(1, C, 1, 1)
    return out, (xhat, std, gamma, G)


def group_norm_backward(dout, cache):
    xhat, std, gamma, G = cache
    N, C, H, W = dout.shape
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * xhat).sum(axis=(0, 2, 3))
    dxhat = (dout * gamma.reshape(1, C, 1, 1)).reshape(N, G, -1)
    xg = xhat.reshape(N, G, -1)
    m = C // G * H * W
    dx = dxhat - dxhat.sum(axis=2, keepdims=True) / m
    dx = dx - xg * (dxhat * xg).sum(axis=2, keepdims=True) / m
    return (dx / std).reshape(N, C, H, W), dgamma, dbeta


def rms_norm(x, g):
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
    return x / r * g, (x, r, g)


def rms_norm_backward(dout, cache):
    x, r, g = cache
    D = x.shape[-1]
    dg = (dout * x / r).sum(axis=0)
    dn = dout * g
    dx = dn / r - x * (dn * x).sum(axis=-1, keepdims=True) / (D * r**3)
    return dx, dg


def dropout(x, mask):
    p = 0.6
    return x * mask / p, (mask, p)


def dropout_backward(dout, cache):
    mask, p = cache
    return dout * mask / p


def conv(x, w, b):
    stride, pad = 2, 1
    N, C, H, W = x.shape
    F_, _, HH, WW = w.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    Ho, Wo = 1 + (H + 2 * pad - HH) // stride, 1 + (W + 2 * pad - WW) // stride
    out = np.zeros((N, F_, Ho, Wo))
    for n in range(N):
        for f in range(F_):
            for i in range(Ho):
                for j in range(Wo):
                    window = xp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out, (x, w, b, stride, pad)


def conv_backward(dout, cache):
    x, w, b, stride, pad = cache
    N, F_, Ho, Wo = dout.shape
    HH, WW = w.shape[2:]
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    dxp = np.zeros_like(xp)
    dw = np.zeros_like(w)
    db = dout.sum(axis=(0, 2, 3))
    for n in range(N):
        for f in range(F_):
            for i in range(Ho):
                for j in range(Wo):
                    h, v = i * stride, j * stride
                    dw[f] += dout[n, f, i, j] * xp[n, :, h : h + HH, v : v + WW]
                    dxp[n, :, h : h + HH, v : v + WW] += dout[n, f, i, j] * w[f]
    dx = dxp[:, :, pad:-pad, pad:-pad]
    return dx, dw, db


def im2col(x, k):
    N, C, H, W = x.shape
    Ho, Wo = H - k + 1, W - k + 1
    cols = np.zeros((N, C, k, k, Ho, Wo))
    for i in range(k):
        for j in range(k):
            cols[:, :, i, j] = x[:, :, i : i + Ho, j : j + Wo]
    return cols.transpose(0, 4, 5, 1, 2, 3).reshape(N * Ho * Wo, -1)


def col2im(cols, shape, k):
    N, C, H, W = shape
    Ho, Wo = H - k + 1, W - k + 1
    cols = cols.reshape(N, Ho, Wo, C, k, k).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros(shape)
    for i in range(k):
        for j in range(k):
            x[:, :, i : i + Ho, j : j + Wo] += cols[:, :, i, j]
    return x


def conv_columns(x, w, b):
    F_, C, k, _ = w.shape
    N, _, H, W = x.shape
    cols = im2col(x, k)
    out = cols @ w.reshape(F_, -1).T + b
    out = out.reshape(N, H - k + 1, W - k + 1, F_).transpose(0, 3, 1, 2)
    return out, (x, w, cols)


def conv_columns_backward(dout, cache):
    x, w, cols = cache
    F_, C, k, _ = w.shape
    d = dout.transpose(0, 2, 3, 1).reshape(-1, F_)
    db = d.sum(axis=0)
    dw = (d.T @ cols).reshape(w.shape)
    dx = col2im(d @ w.reshape(F_, -1), x.shape, k)
    return dx, dw, db


def correlate(x, k):
    H, W = x.shape
    h, w = k.shape
    out = np.zeros((H - h + 1, W - w + 1))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (x[i : i + h, j : j + w] * k).sum()
    return out, (x, k)


def correlate_backward(dout, cache):
    x, k = cache
    h, w = k.shape
    dk = np.zeros_like(k)
    for i in range(h):
        for j in range(w):
            dk[i, j] = (dout * x[i : i + dout.shape[0], j : j + dout.shape[1]]).sum()
    padded = np.pad(dout, ((h - 1, h - 1), (w - 1, w - 1)))
    flipped = k[::-1, ::-1]
    dx = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = np.sum(padded[i : i + h, j : j + w] * flipped)
    return dx, dk


def max_pool(x):
    size, stride = 2, 1
    N, C, H, W = x.shape
    Ho, Wo = (H - size) // stride + 1, (W - size) // stride + 1
    out = np.zeros((N, C, Ho, Wo))
    for i in range(Ho):
        for j in range(Wo):
            window = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, :, i, j] = window.max(axis=(2, 3))
    return out, (x, size, stride)


def max_pool_backward(dout, cache):
    x, size, stride = cache
    N, C, Ho, Wo = dout.shape
    dx = np.zeros_like(x)
    for n in range(N):
        for c in range(C):
            for i in range(Ho):
                for j in range(Wo):
                    h, w = i * stride, j * stride
                    window = x[n, c, h : h + size, w : w + size]
                    a, b = np.unravel_index(np.argmax(window), window.shape)
                    dx[n, c, h + a, w + b] += dout[n, c, i, j]
    return dx


def avg_pool(x):
    k, s = 3, 2
    N, C, H, W = x.shape
    Ho, Wo = (H - k) // s + 1, (W - k) // s + 1
    out = np.zeros((N, C, Ho, Wo))
    for i in range(Ho):
        for j in range(Wo):
            out[:, :, i, j] = x[:, :, i * s : i * s + k, j * s : j * s + k].mean(axis=(2, 3))
    return out, (x.shape, k, s)


def avg_pool_backward(dout, cache):
    shape, k, s = cache
    dx = np.zeros(shape)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            d = dout[:, :, i, j][:, :, None, None] / (k * k)
            dx[:, :, i * s : i * s + k, j * s : j * s + k] += d
    return dx


def embedding(w, ids):
    return w[ids], (w.shape, ids)


def embedding_backward(dout, cache):
    shape, ids = cache
    dw = np.zeros(shape)
    np.add.at(dw, ids, dout)
    return dw


def _max_pool(x):
    return F.max_pool2d(x, 2, 1)


def _layer_norm(x, g, b):
    return F.layer_norm(x, (x.shape[1],), g, b)


def _rms_norm(x, g):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * g


NORM = {"x": (6, 4), "gamma": (4,), "beta": (4,)}
IMAGE = {"x": (2, 2, 4, 4), "w": (3, 2, 3, 3), "b": (3,)}
CHECKED: dict[str, Checked] = {
    "affine": (lambda x, w, b: x @ w + b, {"x": (4, 3), "w": (3, 5), "b": (5,)}, {}),
    "affine_image": (
        lambda x, w, b: x.reshape(x.shape[0], -1) @ w + b,
        {"x": (4, 2, 3), "w": (6, 5), "b": (5,)}, {},
    ),
    "sequence_affine": (
        lambda x, w, b: x @ w + b, {"x": (2, 3, 4), "w": (4, 5), "b": (5,)}, {},
    ),
    "batch_norm": (lambda x, g, b: F.batch_norm(x, None, None, g, b, True), NORM, {}),
    "batch_norm_steps": (lambda x, g, b: F.batch_norm(x, None, None, g, b, True), NORM, {}),
    "layer_norm": (_layer_norm, {"x": (6, 5), "gamma": (5,), "beta": (5,)}, {}),
    "group_norm": (
        lambda x, g, b: F.group_norm(x, 2, g, b),
        {"x": (2, 4, 2, 2), "gamma": (4,), "beta": (4,)}, {},
    ),
    "rms_norm": (_rms_norm, {"x": (4, 6), "g": (6,)}, {}),
    "dropout": (lambda x, mask: x * mask / 0.6, {"x": (5, 4), "mask": MASK}, {"no_grad": ["mask"]}),
    "conv": (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), IMAGE, {}),
    "conv_columns": (F.conv2d, IMAGE, {}),
    "correlate": (
        lambda x, k: F.conv2d(x[None, None], k[None, None])[0, 0],
        {"x": (5, 4), "k": (3, 2)}, {},
    ),
    "max_pool": (_max_pool, {"x": (1, 2, 4, 3)}, {}),
    "avg_pool": (lambda x: F.avg_pool2d(x, 3, 2), {"x": (1, 2, 5, 5)}, {}),
    "embedding": (
        lambda w, ids: w[ids], {"w": (6, 3), "ids": np.array([[1, 4, 1], [0, 4, 4]])}, {},
    ),
}  # fmt: skip
