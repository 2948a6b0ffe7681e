"""Unfold and Fold: an image's windows as columns, and the columns added up where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.conv.base import Shape, batched, tuples, unbatched
from manual.conv.strips import Windows, met, output_size
from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Fold", "Unfold"]

WINDOWS = """
where r[w,k] = s[0] * (w // V) + d[0] * k - p[0]
where q[w,l] = s[1] * (w - w // V * V) + d[1] * l - p[1]"""
CHANNELS = """
where e[m] = m // (K[0] * K[1])
where k[m] = m // K[1] - m // (K[0] * K[1]) * K[0]
where l[m] = m - m // K[1] * K[1]"""
READ = (
    "cases(0 <= r[w,k[m]] < {rows} and 0 <= q[w,l[m]] < {columns}, "
    "{x}[n,e[m],r[w,k[m]],q[w,l[m]]], 0)"
)
ADDED = (
    "sum(w, sum(k, 0 <= k < K[0] and r[w,k] == i, sum(l, 0 <= l < K[1] and q[w,l] == j, "
    "{y}[n,(c * K[0] + k) * K[1] + l,w])))"
)
COUNTED = "\nwhere V = ({width} + 2 * p[1] - d[1] * (K[1] - 1) - 1) // s[1] + 1"


class FoldCache(NamedTuple):
    shape: Shape  # of the images (N, C, H, W), with a batch of one where they have none
    unbatched: bool


class Windowed(Layer):
    """The windows of an image: where they lie, and how they are read and added up."""

    axes: ClassVar[int] = 2
    symbols: ClassVar = {"K": "kernel_size", "s": "stride", "d": "dilation", "p": "padding"}
    kernel_size: Shape
    dilation: Shape
    padding: Shape
    stride: Shape

    def __init__(self, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> None:
        tuples(self, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)
        self.at = Windows(self.kernel_size, self.stride, self.dilation, self.padding, 1)
        self._refuse_bad_sizes()

    def unfolded(self, x: Array) -> Array:
        """Return the windows (N, C·KH·KW, L) of images (N, C, H, W)."""
        out = self.out(x.shape[2:])
        y = np.zeros_like(x, shape=(*x.shape[:2], *self.kernel_size, *out))
        for window, place in self._met(x.shape[2:], out):
            y[window] = x[place]
        return y.reshape(len(x), x.shape[1] * prod(self.kernel_size), prod(out))

    def folded(self, y: Array, shape: Shape) -> Array:
        """Return images (N, C, H, W) in which every element of y is added where it came from."""
        out = self.out(shape[2:])
        windows = y.reshape(*shape[:2], *self.kernel_size, *out)
        x = np.zeros_like(y, shape=shape)
        for window, place in self._met(shape[2:], out):
            x[place] += windows[window]
        return x

    def _met(self, size: Shape, out: Shape) -> Iterator[tuple[tuple, tuple]]:
        """Yield where element (k, l) of the windows stands in (N, C, KH, KW, OH, OW), and in x."""
        every = slice(None)
        for k, u, rows in met(self.at, -2, size[0], out[0]):
            for l, v, columns in met(self.at, -1, size[1], out[1]):  # noqa: E741
                yield (every, every, k, l, u, v), (every, every, rows, columns)

    def out(self, size: Shape) -> Shape:
        """Return how many windows fit, by rows and columns."""
        sizes = zip(size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple(output_size(n, k, s, (p, p), d) for n, k, s, p, d in sizes)

    def _refuse_bad_sizes(self) -> None:
        least = min(*self.kernel_size, *self.stride, *self.dilation)
        if least < 1 or min(self.padding) < 0:
            raise ValueError(
                f"{type(self).__name__}: kernel_size, stride and dilation must be at least 1 and "
                f"padding at least 0, received {self!r}."
            )

    def refuse_no_window(self, size: Shape) -> None:
        """Raise ValueError where no window fits into an image of this size."""
        if min(self.out(size)) < 1:
            raise ValueError(
                f"{type(self).__name__}: no window fits into images of {tuple(size)}: {self!r}. "
                "Use a larger padding or image, or a smaller kernel or dilation."
            )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Unfold(Windowed):
    """The windows of an image as columns (im2col): (N, C, H, W) -> (N, C·KH·KW, L).

    Args:
        kernel_size: (KH, KW) of the window, or one number for both; so with every pair below.
        dilation: how far apart the window's elements lie.
        padding: rows and columns of zeros added on either side.
        stride: how far the window moves.

    Raises:
        ValueError: a size below 1; an input that is not (N, C, H, W) or (C, H, W), or smaller than
            the window.
    """

    equations: ClassVar = {
        "output": "y[n,m,w] = " + READ.format(x="x", rows="H", columns="B") + CHANNELS + WINDOWS
        + "\nwhere H = size(x, -2)\nwhere B = size(x, -1)" + COUNTED.format(width="size(x, -1)"),
        "grad_input": "dx[n,c,i,j] = " + ADDED.format(y="dy") + WINDOWS
        + COUNTED.format(width="size(x, -1)"),
    }  # fmt: skip
    examples = (
        Example({"kernel_size": (2, 3)}, ((2, 2, 3, 4),), exact=True),
        Example(
            {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (2, 1), "stride": (2, 1)},
            ((2, 3, 4),), exact=True,
        ),
    )  # fmt: skip

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)

    def forward(self, x: Array) -> tuple[Array, FoldCache]:  # type: ignore[override]
        """Return y (N, C·KH·KW, L), L the number of windows."""
        if x.ndim not in (3, 4) or min(x.shape[-3:]) < 1:
            raise ValueError(
                "Unfold: the input must be (N, C, H, W) or (C, H, W), none but N empty, received "
                f"shape {tuple(x.shape)}."
            )
        self.refuse_no_window(x.shape[-2:])
        alone = x.ndim == 3
        x = batched(x, alone)
        y = self.unfolded(x)
        return unbatched(y, alone), FoldCache(tuple(x.shape), alone)

    def backward(self, grad_output: Array, cache: FoldCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through copies: an element stands in every window that it lies in.

        Shapes: x (N, C, H, W), y and dy (N, C·KH·KW, L): row (c, k, l), column w = (u, v).
        Write r(u,k) = s u + d k - p for the row of x that row k of the window meets at u, and
        q(v,l) for the column likewise; x is 0 outside.
        Index form:  y_n,ckl,uv = x_n,c,r(u,k),q(v,l)
            dx_ncij = Σ_{k,u: r(u,k) = i} Σ_{l,v: q(v,l) = j} dy_n,ckl,uv
        Matrix form: y = U x with at most one 1 in each row, so dx = Uᵀ dy. Uᵀ is Fold.
        Torch: nn.Unfold, the same order of rows and columns.
        Source: Chellapilla, Puri, Simard, High Performance Convolutional Neural Networks for
        Document Processing (2006); Dumoulin, Visin, A guide to convolution arithmetic (2016).
        """
        return (unbatched(self.folded(grad_output, cache.shape), cache.unbatched),), {}


class Fold(Windowed):
    """Columns added up where windows lie (col2im): (N, C·KH·KW, L) -> (N, C, H, W).

    Args:
        output_size: (H, W) of the image, or one number for both; so with every pair below.
        kernel_size: (KH, KW) of the window.
        dilation: how far apart the window's elements lie.
        padding: rows and columns on either side that are cut off.
        stride: how far the window moves.

    Raises:
        ValueError: a size below 1; an input that is not (N, C·KH·KW, L) or (C·KH·KW, L), L being
            the number of windows.
    """

    output_size: Shape
    symbols: ClassVar = Windowed.symbols | {"Z": "output_size"}
    equations: ClassVar = {
        "output": "y[n,c,i,j] = " + ADDED.format(y="x") + WINDOWS + COUNTED.format(width="Z[1]"),
        "grad_input": "dx[n,m,w] = " + READ.format(x="dy", rows="Z[0]", columns="Z[1]") + CHANNELS
        + WINDOWS + COUNTED.format(width="Z[1]"),
    }  # fmt: skip
    examples = (
        Example({"output_size": (3, 4), "kernel_size": 2}, ((2, 8, 6),), exact=True),
        Example({"output_size": 2, "kernel_size": 1}, ((1, 2, 4),), exact=True),
        Example(
            {"output_size": (3, 4), "kernel_size": (3, 2), "dilation": (1, 2), "padding": (2, 1),
             "stride": (2, 1)},
            ((6, 12),), exact=True,
        ),
    )  # fmt: skip

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        tuples(self, output_size=output_size)
        super().__init__(kernel_size, dilation, padding, stride)
        self.refuse_no_window(self.output_size)

    def forward(self, x: Array) -> tuple[Array, FoldCache]:  # type: ignore[override]
        """Return y (N, C, H, W)."""
        rows, columns = prod(self.kernel_size), prod(self.out(self.output_size))
        if x.ndim not in (2, 3) or x.shape[-2] % rows or x.shape[-1] != columns or not x.shape[-2]:
            raise ValueError(
                f"Fold: the input must be (N, C · {rows}, {columns}) or (C · {rows}, {columns}), "
                f"as windows of {self.kernel_size} lie in {self.output_size}, received shape "
                f"{tuple(x.shape)}."
            )
        alone = x.ndim == 2
        x = batched(x, alone)
        shape = (len(x), x.shape[1] // rows, *self.output_size)
        y = self.folded(x, shape)
        return unbatched(y, alone), FoldCache(shape, alone)

    def backward(self, grad_output: Array, cache: FoldCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through sums: y = Uᵀ x, with Unfold's U, so dx = U dy.

        Shapes: x and dx (N, C·KH·KW, L), y and dy (N, C, H, W); r and q as in Unfold.
        Index form:  y_ncij = Σ_{k,u: r(u,k) = i} Σ_{l,v: q(v,l) = j} x_n,ckl,uv
            dx_n,ckl,uv = dy_n,c,r(u,k),q(v,l)      (0 where that is outside)
        Torch: nn.Fold. Windows overlap, so Fold of Unfold counts an element once for each window.
        Source: as of Unfold.
        """
        dx = self.unfolded(grad_output.reshape(*cache.shape))
        return (unbatched(dx, cache.unbatched),), {}

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
