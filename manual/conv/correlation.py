r"""The three products of a convolution: windows of x times W, and what follows for x and for W.

Write r(u,k) = s u + d k - p for the place of x that element k of the kernel meets at output place
u, one such r for each axis; what lies outside x is 0. The sums below have one u, k and r an axis.

    correlated        y_nou = Σ_ck W_ock x_n,c,r(u,k)
    input_gradients   dx_nci = Σ_ok Σ_{u: r(u,k) = i} dy_nou W_ock       (its transpose, by x)
    weight_gradients  dW_ock = Σ_nu dy_nou x_n,c,r(u,k)                  (its transpose, by W)

All arrays have the same axes of places: rows and columns, or depth, too. Depth is a sum: each plane
of the kernel is a correlation of images, of those planes of x that it meets. With groups, output
channel o of group g sees the input channels of that group: W is (O, C/G, KD, KH, KW).
"""

from __future__ import annotations

from typing import cast

import numpy as np

from manual.bilinear import bilinear
from manual.blocks import joined
from manual.conv.strips import Windows, correlate, folded, kernel_rows, met, row_slices, strips
from manual.layer import Array

__all__ = ["correlated", "input_gradients", "weight_gradients"]

Shape = tuple[int, ...]


# Each is linear in both of its arrays, which an array class that follows errors may make use of.
@bilinear(terms=lambda x, weight, at, out: weight[0].size)
def correlated(x: Array, weight: Array, at: Windows, out: Shape) -> Array:
    """Return y (N, O, OD, OH, OW) of x (N, C, D, H, W); `out` is its (OD, OH, OW)."""
    if x.ndim == 4:
        return _planes(x, weight, at, out)
    y = np.zeros_like(x, shape=(len(x), len(weight), *out))
    for k, u, read in met(at, 0, x.shape[2], out[0]):
        y[:, :, u] += _volumes(_planes(_frames(x, read), weight[:, :, k], at, out[1:]), u)
    return y


@bilinear(terms=lambda dy, weight, at, shape: weight[:, 0].size // at.groups)
def input_gradients(dy: Array, weight: Array, at: Windows, shape: Shape) -> Array:
    """Return dx (N, C, D, H, W); `shape` is its (D, H, W)."""
    if dy.ndim == 4:
        return _planes_back(dy, weight, at, shape)
    dx = np.zeros_like(dy, shape=(len(dy), weight.shape[1] * at.groups, *shape))
    for k, u, read in met(at, 0, shape[0], dy.shape[2]):
        part = _planes_back(_frames(dy, u), weight[:, :, k], at, shape[1:])
        dx[:, :, read] += _volumes(part, u)
    return dx


@bilinear(terms=lambda dy, x, at: dy[:, 0].size)
def weight_gradients(dy: Array, x: Array, at: Windows) -> Array:
    """Return dW (O, C/G, KD, KH, KW)."""
    if x.ndim == 4:
        return _plane_of_weight(dy, x, at)
    dW = np.zeros_like(x, shape=(dy.shape[1], x.shape[1] // at.groups, *at.kernel))
    for k, u, read in met(at, 0, x.shape[2], dy.shape[2]):
        dW[:, :, k] = _plane_of_weight(_frames(dy, u), _frames(x, read), at)
    return dW


# ── depth ────────────────────────────────────────────────────────────────────────────────────────
def _frames(x: Array, at: slice) -> Array:
    """Return some planes of every volume as a batch: (N, C, D, H, W) -> (N·D', C, H, W)."""
    planes = x[:, :, at].swapaxes(1, 2)
    return planes.reshape(planes.shape[0] * planes.shape[1], *planes.shape[2:])


def _volumes(planes: Array, at: slice) -> Array:
    """Return the planes that lie at `at` as volumes again: (N·D', C, H, W) -> (N, C, D', H, W)."""
    depth = at.stop - at.start
    return planes.reshape(len(planes) // depth, depth, *planes.shape[1:]).swapaxes(1, 2)


# ── images ───────────────────────────────────────────────────────────────────────────────────────
def _planes(x: Array, weight: Array, at: Windows, out: Shape) -> Array:
    """Return Σ_k W_k X_k, (n, O, OH, OW), of images (n, C, H, W) and W (O, C/G, KH, KW)."""
    kernel = kernel_rows(weight, at.groups)  # (KH, G, O/G, C/G·KW)
    slices = row_slices(at, out)
    parts = [correlate(strips(x[b], at, out), kernel, slices) for b in at.blocks(x)]
    return joined(parts).reshape(len(x), len(weight), *out)  # of (n, G, O/G, OH·OW)


def _plane_of_weight(dy: Array, x: Array, at: Windows) -> Array:
    """Return dW_k = Σ_n dY X_kᵀ as (O, C/G, KH, KW)."""
    dW: Array | float = 0.0
    out = dy.shape[2:]
    for block in at.blocks(x):
        X = strips(x[block], at, out)  # (n, G, C/G·KW, s, Hs·OW)
        dyT = _by_group(dy[block], at).swapaxes(2, 3)  # (n, G, OH·OW, O/G)
        rows = [(X[row] @ dyT).sum(axis=0) for row in row_slices(at, out)]
        dW = dW + np.stack(rows)  # (KH, G, C/G·KW, O/G)
    (*_, rows_, columns), g, o = at.kernel, at.groups, dy.shape[1]
    dW = cast(Array, dW).reshape(rows_, g, -1, columns, o // g).transpose(1, 4, 2, 0, 3)
    return dW.reshape(o, -1, rows_, columns)


def _planes_back(dy: Array, weight: Array, at: Windows, shape: Shape) -> Array:
    """Return dx (n, C, H, W): turned kernels over dy, or folded back where that is not possible."""
    before = tuple(r - p for r, p in zip(at.reach, at.before, strict=True))
    if max(at.stride) == 1 and min(before) >= 0:
        return _planes(dy, _turned(weight, at.groups), at._replace(before=before), shape)
    return _planes_folded(dy, weight, at, shape)


def _turned(weight: Array, groups: int) -> Array:
    """Return the kernels by input channel, counted backwards: (C, O/G, KH, KW)."""
    o, c, rows, columns = weight.shape
    w = weight.reshape(groups, o // groups, c, rows, columns)[..., ::-1, ::-1]
    return w.swapaxes(1, 2).reshape(groups * c, o // groups, rows, columns)


def _planes_folded(dy: Array, weight: Array, at: Windows, shape: Shape) -> Array:
    transposed = kernel_rows(weight, at.groups).swapaxes(2, 3)  # (KH, G, C/G·KW, O/G)
    out, image = dy.shape[2:], (weight.shape[1] * at.groups, *shape)
    area = at.strip_rows(out[0]) * out[1]
    parts = []
    for block in at.blocks(dy):
        dY = _by_group(dy[block], at)  # (n, G, O/G, OH·OW)
        dX = np.zeros_like(dY, shape=(len(dY), *transposed.shape[1:3], at.stride[-2], area))
        for w, row in zip(transposed, row_slices(at, out), strict=True):
            dX[row] += w @ dY  # W_kᵀ dY: (n, G, C/G·KW, OH·OW)
        parts.append(folded(dX, at, image, out[1]))
    return joined(parts)


def _by_group(dy: Array, at: Windows) -> Array:
    n, o, height, width = dy.shape
    return dy.reshape(n, at.groups, o // at.groups, height * width)
