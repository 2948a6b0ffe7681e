"""Correlation of many images with many kernels as a few large products, without im2col's copies.

im2col lays out every window: KH·KW copies of the input. Here only the kernel's *columns* are laid
out (KW copies): `strips` holds, for each column of the kernel, what that column meets at every
output column, rows kept apart by their remainder modulo the stride. The windows' rows k are then
one contiguous slice, so each row of the kernel is one batched product without a copy.

Symbols: N images, G groups, C and O channels in and out, (KH, KW) kernel, (OH, OW) output.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from manual.blocks import blocks
from manual.layer import Array

__all__ = [
    "Windows", "correlate", "folded", "kernel_rows", "met", "output_size", "row_slices",
    "strips",
]  # fmt: skip

Shape = tuple[int, ...]


class Windows(NamedTuple):
    """Where windows lie: element k of an axis, at output place u, meets input place s u + d k - p.

    One number per axis: rows and columns, before them depth; sequences have rows of 1.
    """

    kernel: Shape
    stride: Shape  # s
    dilation: Shape  # d
    before: Shape  # p: how far the first window starts before the first element
    groups: int

    @property
    def reach(self) -> Shape:
        """How far a window's last element lies from its first."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True))

    def strip_rows(self, height: int) -> int:
        """Return Hs, how many rows of each remainder the strips have for `height` output rows."""
        return self.reach[-2] // self.stride[-2] + height

    def blocks(self, x: Array) -> list[slice]:
        """Cut a batch of images by how much is laid out of them: KW copies."""
        return blocks(len(x), self.kernel[-1] * x[:1].size)


@lru_cache(maxsize=1024)
def met(at: Windows, axis: int, size: int, out: int) -> tuple[tuple[int, slice, slice], ...]:
    """Return (k, windows, places): where element k meets something, and what: as many of each.

    `size` elements along the axis, `out` windows. What lies outside is met by nobody.
    """
    found, s = [], at.stride[axis]
    for k in range(at.kernel[axis]):
        first = k * at.dilation[axis] - at.before[axis]  # the place that window 0 meets
        a, e = max(0, -(first // s)), min(out, (size - 1 - first) // s + 1)
        if a < e:
            found.append((k, slice(a, e), slice(s * a + first, s * (e - 1) + first + 1, s)))
    return tuple(found)


@lru_cache(maxsize=1024)
def row_slices(at: Windows, out: Shape) -> tuple[tuple, ...]:
    """Return, for each row of the kernel, the index of what it meets in the strips."""
    height, width = out
    starts = (divmod(k * at.dilation[-2], at.stride[-2]) for k in range(at.kernel[-2]))
    every = slice(None)
    return tuple(
        (every, every, every, r, slice(i * width, (i + height) * width)) for i, r in starts
    )


def output_size(size: int, kernel: int, stride: int, margin: tuple[int, int], dilation: int) -> int:
    """Return how many windows fit: of d (k - 1) + 1 elements, s apart; 0 or less if none does."""
    return (size + sum(margin) - dilation * (kernel - 1) - 1) // stride + 1


def strips(x: Array, at: Windows, out: Shape) -> Array:
    """Return X (N, G, C/G·KW, s, Hs·OW): X[n,g,(c,l),r,(i,v)] = x[n, c, s i + r - p, q(v,l)].

    Args:
        x: images (N, C, H, W); zeros lie around them.
        at: where the windows lie; s is the stride of rows, q(v,l) what column l meets at v.
        out: (OH, OW), how many windows there are.
    """
    n, c, _, width = x.shape
    columns, s, top, g = at.kernel[-1], at.stride[-2], at.before[-2], at.groups
    rows_each = at.strip_rows(out[0])
    X = np.zeros_like(x, shape=(n, c, columns, s, rows_each, out[1]))
    for l, windows, places in met(at, -1, width, out[1]):  # noqa: E741
        for r in range(s):
            start = (r - top) % s  # the first row of this remainder
            i = min((start + top) // s, rows_each)  # and where it stands in the strip
            rows = x[:, :, start::s, places][:, :, : rows_each - i]
            X[:, :, l, r, i : i + rows.shape[2], windows] = rows
    return X.reshape(n, g, c // g * columns, s, rows_each * out[1])


def folded(dX: Array, at: Windows, image: Shape, out_width: int) -> Array:
    """Return dx, images (C, H, W): what lies in `strips(x, ...)` is added up where it was read."""
    (n, g, channels, s, area), (c, height, width) = dX.shape, image
    top, strip = at.before[-2], area // out_width
    dX = dX.reshape(n, c, g * channels // c, s, strip, out_width).swapaxes(3, 4)
    tall = max(strip * s, top + height)
    dx = np.zeros_like(dX, shape=(n, c, tall, width))
    rows = dx[:, :, : strip * s].reshape(n, c, strip, s, width)
    for l, windows, places in met(at, -1, width, out_width):  # noqa: E741
        rows[..., places] += dX[:, :, l, ..., windows]
    return dx[:, :, top : top + height]


def kernel_rows(weight: Array, groups: int) -> Array:
    """Return the kernel row by row, as matrices: (O, C/G, KH, KW) -> (KH, G, O/G, C/G·KW)."""
    o, c, rows, columns = weight.shape
    w = weight.reshape(groups, o // groups, c, rows, columns).transpose(3, 0, 1, 2, 4)
    return w.reshape(rows, groups, o // groups, c * columns)


def correlate(X: Array, kernel: Array, slices: tuple[tuple, ...]) -> Array:
    """Return Σ_k W_k X_k, one product per row of the kernel: (N, G, O/G, OH·OW)."""
    y = kernel[0] @ X[slices[0]]
    for k in range(1, len(slices)):
        y += kernel[k] @ X[slices[k]]  # y is ours: fresh from the product
    return y
