"""Correlation of many images with many kernels as a few large products, without im2col's copies.

im2col lays out every window: KH·KW copies of the input. Here only the kernel's *columns* are laid
out (KW copies): `strips` holds, for each column of the kernel, what that column meets at every
output column, rows kept apart by their remainder modulo the stride. The windows' rows k are then
one contiguous slice, so each row of the kernel is one batched product without a copy.

Symbols: N images, G groups, C and O channels in and out, (KH, KW) kernel, (OH, OW) output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from manual.layer import Array

__all__ = ["correlate", "folded", "kernel_rows", "output_size", "row_slices", "strips", "tall"]

Pair = tuple[int, int]
Margins = tuple[Pair, Pair]  # zeros before and after: of the rows, of the columns
AS_IT_IS = (1, (1, 1), ((0, 0), (0, 0)))  # columns, stride and margins with which X is x


def output_size(size: int, kernel: int, stride: int, margin: Pair, dilation: int) -> int:
    """Return how many windows fit: of d (k - 1) + 1 elements, s apart; 0 or less if none does."""
    return (size + sum(margin) - dilation * (kernel - 1) - 1) // stride + 1


def strips(
    x: Array,
    groups: int,
    columns: int,
    out_width: int,
    stride: Pair,
    margins: Margins,
    dilation: Pair,
) -> Array:
    """Return X (N, G, C/G·KW, s, Hs·OW): X[n,g,(c,l),r,(i,v)] = x̄[n, c, s i + r, t v + e l].

    x̄ is x with its margins of zeros; (s, t) the stride, e the columns' dilation, Hs = ⌈H̄/s⌉.
    """
    n, c, height, width = x.shape
    (s, t), ((top, bottom), (left, _)) = stride, margins
    if (columns, stride, margins) == AS_IT_IS:
        return x.reshape(n, groups, c // groups, 1, height * width)
    rows_each = tall(height, s, (top, bottom))
    X = np.zeros_like(x, shape=(n, c, columns, s, rows_each, out_width))
    for l in range(columns):  # noqa: E741
        first = l * dilation[1] - left  # the input column under output column 0
        a, e = max(0, -(first // t)), min(out_width, (width - 1 - first) // t + 1)
        if a < e:
            met = x[..., t * a + first : t * (e - 1) + first + 1 : t]
            for r in range(s):
                rows = met[:, :, (r - top) % s :: s]
                i = ((r - top) % s + top) // s
                X[:, :, l, r, i : i + rows.shape[2], a:e] = rows
    return X.reshape(n, groups, c // groups * columns, s, rows_each * out_width)


def folded(
    dX: Array,
    shape: tuple[int, ...],
    out_width: int,
    stride: Pair,
    margins: Margins,
    dilation: Pair,
) -> Array:
    """Return dx (N, C, H, W): what lies in `strips(x, ...)` is added up where it was read."""
    (n, g, channels, s, area), (_, c, height, width), t = dX.shape, shape, stride[1]
    ((top, _), (left, right)), strip = margins, area // out_width
    dX = dX.reshape(n, c, g * channels // c, s, strip, out_width).swapaxes(3, 4)
    dx = np.zeros((n, c, strip, s, left + width + right), dtype=dX.dtype)
    for l in range(dX.shape[2]):  # noqa: E741
        first = l * dilation[1]
        dx[..., first : first + t * (out_width - 1) + 1 : t] += dX[:, :, l]
    dx = dx.reshape(n, c, strip * s, left + width + right)  # rows in their order
    return dx[:, :, top : top + height, left : left + width]


def tall(height: int, stride: int, margin: Pair) -> int:
    """Return Hs, how many rows of each remainder the strips have."""
    return -(-(height + sum(margin)) // stride)


def row_slices(rows: int, out: tuple[int, ...], stride: int, dilation: int) -> Iterator[tuple]:
    """Yield, for each row of the kernel, the index of what it meets in the strips."""
    height, width = out
    for k in range(rows):
        i, r = divmod(k * dilation, stride)
        yield (slice(None), slice(None), slice(None), r, slice(i * width, (i + height) * width))


def kernel_rows(weight: Array, groups: int) -> Array:
    """Return the kernel row by row, as matrices: (O, C/G, KH, KW) -> (KH, G, O/G, C/G·KW)."""
    o, c, rows, columns = weight.shape
    w = weight.reshape(groups, o // groups, c, rows, columns).transpose(3, 0, 1, 2, 4)
    return w.reshape(rows, groups, o // groups, c * columns)


def correlate(X: Array, kernel: Array, slices: list[tuple]) -> Array:
    """Return Σ_k W_k X_k, one product per row of the kernel: (N, G, O/G, OH·OW)."""
    y = kernel[0] @ X[slices[0]]
    for k in range(1, len(slices)):
        y += kernel[k] @ X[slices[k]]  # y is ours: fresh from the product
    return y
