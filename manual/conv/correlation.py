r"""The three products of a convolution: windows of x times W, and what follows for x and for W.

Write r(u,k) = s u + d k - p for the place of x that element k of the kernel meets at output place
u, one such r for each axis; what lies outside x is 0. The sums below have one u, k and r an axis.

    correlated        y_nou = Σ_ck W_ock x_n,c,r(u,k)
    input_gradients   dx_nci = Σ_ok Σ_{u: r(u,k) = i} dy_nou W_ock       (its transpose, by x)
    weight_gradients  dW_ock = Σ_nu dy_nou x_n,c,r(u,k)                  (its transpose, by W)

All arrays have three axes of places: depth, rows, columns. Depth is a sum: each plane of the kernel
is a correlation of images, of those planes of x that it meets. With groups, output channel o of
group g sees the input channels of that group: W is (O, C/G, KD, KH, KW).
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
    places = met(at, 0, x.shape[2], out[0])
    if (k := _alone(places, x.shape[2], out[0])) is not None:  # images
        return _planes(x[:, :, 0], weight[:, :, k], at, out[1:])[:, :, None]
    y = _zeros(x, weight, (len(x), len(weight), *out))
    for k, u, read in places:
        y[:, :, u] += _volumes(_planes(_frames(x, read), weight[:, :, k], at, out[1:]), u)
    return y


@bilinear(terms=lambda dy, weight, at, shape: weight[:, 0].size // at.groups)
def input_gradients(dy: Array, weight: Array, at: Windows, shape: Shape) -> Array:
    """Return dx (N, C, D, H, W); `shape` is its (D, H, W)."""
    places = met(at, 0, shape[0], dy.shape[2])
    if (k := _alone(places, shape[0], dy.shape[2])) is not None:
        return _planes_back(dy[:, :, 0], weight[:, :, k], at, shape[1:])[:, :, None]
    dx = _zeros(dy, weight, (len(dy), weight.shape[1] * at.groups, *shape))
    for k, u, read in places:
        part = _planes_back(_frames(dy, u), weight[:, :, k], at, shape[1:])
        dx[:, :, read] += _volumes(part, u)
    return dx


@bilinear(terms=lambda dy, x, at: dy[:, 0].size)
def weight_gradients(dy: Array, x: Array, at: Windows) -> Array:
    """Return dW (O, C/G, KD, KH, KW)."""
    dW = _zeros(dy, x, (dy.shape[1], x.shape[1] // at.groups, *at.kernel))
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


def _alone(places: tuple[tuple[int, slice, slice], ...], depth: int, out: int) -> int | None:
    """Return the one plane of the kernel that meets the one plane there is; None: not so."""
    return places[0][0] if len(places) == depth == out == 1 else None


def _zeros(a: Array, b: Array, shape: Shape) -> Array:
    """Return zeros for a sum of products of a and b."""
    return np.zeros_like(a, dtype=np.result_type(a, b), shape=shape)


# ── images ───────────────────────────────────────────────────────────────────────────────────────
def _planes(x: Array, weight: Array, at: Windows, out: Shape) -> Array:
    """Return Σ_k W_k X_k, (n, O, OH, OW), of images (n, C, H, W) and W (O, C/G, KH, KW)."""
    kernel = kernel_rows(weight, at.groups)  # (KH, G, O/G, C/G·KW)
    slices = row_slices(at, out)
    parts = [correlate(strips(x[b], at, out), kernel, slices) for b in at.blocks(x.shape)]
    return joined(parts).reshape(len(x), len(weight), *out)  # of (n, G, O/G, OH·OW)


def _plane_of_weight(dy: Array, x: Array, at: Windows) -> Array:
    """Return dW_k = Σ_n dY X_kᵀ as (O, C/G, KH, KW)."""
    dW: Array | float = 0.0
    out = dy.shape[2:]
    for block in at.blocks(x.shape):
        X = strips(x[block], at, out)  # (n, G, C/G·KW, s, Hs·OW)
        dyT = _by_group(dy[block], at).swapaxes(2, 3).copy()  # (n, G, OH·OW, O/G)
        rows = [(X[row] @ dyT).sum(axis=0) for row in row_slices(at, out)]
        dW = dW + np.stack(rows)  # (KH, G, C/G·KW, O/G)
    (_, rows_, columns), g, o = at.kernel, at.groups, dy.shape[1]
    dW = cast(Array, dW).reshape(rows_, g, -1, columns, o // g).transpose(1, 4, 2, 0, 3)
    return dW.reshape(o, -1, rows_, columns)


def _planes_back(dy: Array, weight: Array, at: Windows, shape: Shape) -> Array:
    """Return dx (n, C, H, W) by whichever copies less: turned kernels over dy, or folded back."""
    few = weight.shape[1] * at.groups >= len(weight) or max(at.kernel[1:]) == 1
    before = [r - p for r, p in zip(at.reach[1:], at.before[1:], strict=True)]
    if few and at.stride[1:] == (1, 1) and min(before) >= 0:
        turned = at._replace(before=(0, *before))
        return _planes(dy, _turned(weight, at.groups), turned, shape)
    return _planes_folded(dy, weight, at, shape)


def _turned(weight: Array, groups: int) -> Array:
    """Return the kernels by input channel, counted backwards: (C, O/G, KH, KW)."""
    o, c, rows, columns = weight.shape
    w = weight.reshape(groups, o // groups, c, rows, columns)[..., ::-1, ::-1]
    return w.swapaxes(1, 2).reshape(groups * c, o // groups, rows, columns)


def _planes_folded(dy: Array, weight: Array, at: Windows, shape: Shape) -> Array:
    transposed = kernel_rows(weight, at.groups).swapaxes(2, 3).copy()  # (KH, G, C/G·KW, O/G)
    n, out, s = len(dy), dy.shape[2:], at.stride[1]
    size = n, weight.shape[1] * at.groups, *shape
    parts = []
    for block in at.blocks(size):
        dY = _by_group(dy[block], at)  # (n, G, O/G, OH·OW)
        area = at.strip_rows(out[0]) * out[1]
        dX = np.zeros((len(dY), *transposed.shape[1:3], s, area), dtype=np.result_type(dY, weight))
        for w, row in zip(transposed, row_slices(at, out), strict=True):
            dX[row] += w @ dY  # W_kᵀ dY: (n, G, C/G·KW, OH·OW)
        parts.append(folded(dX, at, (len(dY), *size[1:]), out[1]))
    return joined(parts)


def _by_group(dy: Array, at: Windows) -> Array:
    n, o, height, width = dy.shape
    return dy.reshape(n, at.groups, o // at.groups, height * width)
