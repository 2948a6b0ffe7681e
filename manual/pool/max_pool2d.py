"""MaxPool2d: the largest element of each window, and where it was."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from manual.blocks import blocks, joined
from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["MaxPool2d"]

Pair = tuple[int, int]
EQUATIONS = {
    "output": (
        "y[n,c,u,v] = largest(k, 0 <= k < K[0] and 0 <= r[u,k] < H, "
        "largest(l, 0 <= l < K[1] and 0 <= q[v,l] < B, x[n,c,r[u,k],q[v,l]]))\n"
        "where r[u,k] = s[0] * u + d[0] * k - p[0]\n"
        "where q[v,l] = s[1] * v + d[1] * l - p[1]\n"
        "where H = size(x, -2)\n"
        "where B = size(x, -1)"
    ),
    "grad_input": (
        "dx[n,c,i,j] = sum(u, sum(v, w[n,c,u,v] == i * B + j, dy[n,c,u,v]))\nwhere B = size(x, -1)"
    ),
}
SYMBOLS = {
    "K": "kernel_size", "s": "stride", "d": "dilation", "p": "padding", "w": "decisions",
}  # fmt: skip


class Place(NamedTuple):
    """One place (k, l) of the window: the windows that have it in the image, and what is there."""

    out: tuple  # index into (…, H', W')
    read: tuple  # index into (…, H, W), as many elements


class PoolCache(NamedTuple):
    x: Array  # (N, C, H, W)
    y: Array  # (N, C, H', W')
    winner: Array | None  # given, or None: the first element that equals y
    unbatched: bool


class MaxPool2d(Layer):
    r"""Largest element of every window: y_ncuv = max over the window of x_nc.

    Args:
        kernel_size: (KH, KW) of the window, or one number for both; so with every pair below.
        stride: how far the window moves; None means `kernel_size`.
        padding: rows and columns of -∞ added on either side, at most half the kernel.
        dilation: how far apart the window's elements lie.
        return_indices: whether forward returns `(output, indices)`; an index counts the elements of
            its channel's image row by row, before padding.
        ceil_mode: whether a last window that sticks out counts, if it starts inside the image or
            its padding on the left.

    Raises:
        ValueError: a size below 1, a padding over half the kernel, an input that is not
            (N, C, H, W) or (C, H, W), or one smaller than the window.
    """

    equations = EQUATIONS
    symbols = SYMBOLS
    examples = (
        Example(
            {"kernel_size": 2}, ((2, 2, 4, 5),), exact=True,
            kinks={"all equal": {"x": 1.0}, "ties along rows": {"x": [0.0, 0.0, 1.0, 1.0, 1.0]}},
        ),
        Example(
            {"kernel_size": 3, "stride": 2, "padding": 1}, ((1, 2, 5, 6),),
            exact=True,
        ),
        Example(
            {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)},
            ((1, 2, 6, 5),), exact=True,
        ),
        Example(
            {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}, ((2, 1, 4, 6),),
            exact=True, kinks={"all equal": {"x": 0.0}},
        ),
        Example(
            {"kernel_size": 3, "stride": 2, "return_indices": True, "ceil_mode": True},
            ((2, 6, 7),), exact=True,
        ),
        Example({"kernel_size": 2, "stride": 1}, ((3, 3, 3),), exact=True),
        Example(
            {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 2)}, ((1, 1, 8, 6),),
            exact=True,
        ),
        Example(
            {"kernel_size": (2, 3), "stride": (1, 3), "dilation": (3, 2)}, ((1, 1, 6, 9),),
            exact=True,
        ),
        Example({"kernel_size": 3, "padding": 1}, ((2, 1, 1, 2),), exact=True),  # rows outside
        Example({"kernel_size": (1, 3), "stride": (2, 1)}, ((1, 2, 5, 3),), exact=True),
        Example({"kernel_size": 3, "stride": 1, "padding": 1}, ((1, 1, 3, 4),), exact=True),
        Example(  # rows and columns of the window outside, for some windows and for all
            {"kernel_size": 4, "stride": (2, 1), "padding": 2, "dilation": 2}, ((1, 1, 4, 5),),
            exact=True,
        ),
        Example(  # a last window that would start in the padding
            {"kernel_size": 2, "stride": (2, 3), "padding": 1, "ceil_mode": True},
            ((1, 2, 5, 8),), exact=True,
        ),
        Example({"kernel_size": 1, "stride": (1, 2)}, ((1, 2, 3, 4),), exact=True),
    )  # fmt: skip
    winner: Array | None = None  # given winners; None lets the largest win

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = _pair(kernel_size)
        self.stride = self.kernel_size if stride is None else _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        if return_indices:
            self.outputs = ("output", "indices")
        self._refuse_bad_arguments()

    def forward(self, x: Array) -> tuple[Array, PoolCache]:  # type: ignore[override]
        """Return y (N, C, H', W'), or `(y, indices)`."""
        self._refuse_bad_input(x)
        unbatched = x.ndim == 3
        if unbatched:
            x = x.reshape(1, *x.shape)
        y = self._given(x, self.winner) if self.winner is not None else self._largest(x)
        cache = PoolCache(x, y, self.winner, unbatched)
        own = y[0] if unbatched else y
        return (own, self.decisions(cache)) if self.return_indices else own, cache

    def backward(self, grad_output: Array, cache: PoolCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max: each y is one element of x, its winner.

        Shapes: x and dx (N, C, H, W), y and dy (N, C, H', W').
        Index form:  y_ncuv = max_{k,l} x_n,c,r(u,k),q(v,l)   with r(u,k) = s u + d k - p, q alike
            dx_ncij = Σ_{u,v: (i, j) won window (u, v)} dy_ncuv    (windows overlap: their sum)
        Matrix form: y = S x with one 1 in each row of S, so dx = Sᵀ dy. S is never built: for each
        place (k, l) of the window, the windows that it won are [x there = y and none before won].
        Torch: nn.MaxPool2d; of equals the first wins, row by row. A window with nan is nan, and its
        last nan wins. The indices are whole numbers: their gradient is not read.
        Source: Scherer, Müller, Behnke, Evaluation of Pooling Operations (2010), section 3.2.
        """
        dy = grad_output[0] if self.return_indices else grad_output
        if cache.unbatched:
            dy = dy.reshape(1, *dy.shape)
        dx = self._to_first(dy, cache) if cache.winner is None else None
        if dx is None:
            dx = self._to_winners(dy, cache)
        return (dx[0] if cache.unbatched else dx,), {}

    def decisions(self, cache: PoolCache) -> Array:  # type: ignore[override]
        """Return the winners' indices, as torch counts them: i W + j."""
        if cache.winner is not None:
            return cache.winner
        winner = self._first_winners(cache)
        return winner[0] if cache.unbatched else winner

    def settled(self, winner: Array) -> MaxPool2d:
        """Return this layer with its winners given: near a tie, rounding before it decides."""
        return self._twin(winner=winner)

    # ── windows ──────────────────────────────────────────────────────────────────────────────────
    def _largest(self, x: Array) -> Array:
        """Return the running maximum over the places of the window, rows first."""
        out = self._out(x.shape)
        y = self._largest_along(0, x.swapaxes(2, 3), out[0]).swapaxes(2, 3)
        return self._largest_along(1, y, out[1])

    def _largest_along(self, axis: int, x: Array, out: int) -> Array:
        """Return the running maximum along the last axis; -∞ is what is outside."""
        met = self._met(axis, x.shape[-1], out)
        if met[1:] and all(windows == slice(0, out) for windows, _ in met):
            return reduce(np.maximum, (x[..., read] for _, read in met))
        y = np.full_like(x, -np.inf, shape=(*x.shape[:-1], out))
        for windows, read in met:
            y[..., windows] = np.maximum(y[..., windows], x[..., read])
        return y

    def _to_first(self, dy: Array, cache: PoolCache) -> Array | None:
        """Return dx, each window's to its first largest element; None if some window has none."""
        parts = []
        places = self._places(cache.x.shape, cache.y.shape[2:])
        for block in blocks(len(dy), cache.x[:1].size):
            x, y, dy_ = cache.x[block], cache.y[block], dy[block]
            dx = np.zeros_like(dy, shape=x.shape)
            free = np.ones(y.shape, dtype=bool)  # windows whose winner is not found yet
            for place in places:
                won = (x[place.read] == y[place.out]) & free[place.out]
                free[place.out] ^= won
                dx[place.read] += dy_[place.out] * won
            if free.any():
                return None
            parts.append(dx)
        return joined(parts)

    def _to_winners(self, dy: Array, cache: PoolCache) -> Array:
        """Return dx, each window's to the element with its winner's index."""
        x, winner = cache.x, self.decisions(cache)
        dx = np.zeros_like(dy, shape=x.shape)
        index = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
        for place in self._places(x.shape, dy.shape[2:]):
            won = winner[place.out] == index[place.read]
            dx[place.read] += dy[place.out] * won
        return dx

    def _first_winners(self, cache: PoolCache) -> Array:
        """Return the index of each window's first largest element, or of its last nan."""
        x, y = cache.x, cache.y
        index = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
        winner = np.full(y.shape, -1)
        for place in self._places(x.shape, y.shape[2:]):
            seen = winner[place.out]
            here = x[place.read]
            won = ((here == y[place.out]) & (seen < 0)) | (here != here)
            winner[place.out] = np.where(won, index[place.read], seen)
        return winner

    def _given(self, x: Array, winner: Array) -> Array:
        n, c, height, width = x.shape
        index = winner.reshape(n, c, -1)
        y = np.take_along_axis(x.reshape(n, c, height * width), index, axis=-1)
        return y.reshape(n, c, *self._out(x.shape))

    def _places(self, shape: tuple[int, ...], out: Pair) -> list[Place]:
        """Return every place (k, l) of the window that meets the image, row by row."""
        met = [
            self._met(axis, size, n)
            for axis, (size, n) in enumerate(zip(shape[2:], out, strict=True))
        ]
        return [Place((..., u, v), (..., i, j)) for u, i in met[0] for v, j in met[1]]

    def _met(self, axis: int, size: int, out: int) -> list[tuple[slice, slice]]:
        """Return, for each row (or column) of the window, where it meets the image.

        First the windows that have it in the image, then what they meet there; without those that
        lie outside for all.
        """
        s, found = self.stride[axis], []
        for k in range(self.kernel_size[axis]):
            first = k * self.dilation[axis] - self.padding[axis]
            a, e = max(0, -(first // s)), min(out, (size - 1 - first) // s + 1)
            if a < e:
                found.append((slice(a, e), slice(s * a + first, s * (e - 1) + first + 1, s)))
        return found

    def _out(self, shape: tuple[int, ...]) -> Pair:
        height, width = (self._windows(axis, size) for axis, size in enumerate(shape[2:]))
        return height, width

    def _windows(self, axis: int, size: int) -> int:
        """Return how many windows fit; in ceil mode also one that starts inside but sticks out."""
        s, p = self.stride[axis], self.padding[axis]
        room = size + 2 * p - self._span(axis)
        count = (-(-room // s) if self.ceil_mode else room // s) + 1
        return count - 1 if (count - 1) * s >= size + p else count

    def _span(self, axis: int) -> int:
        return self.dilation[axis] * (self.kernel_size[axis] - 1) + 1

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def _refuse_bad_arguments(self) -> None:
        if min(*self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError(
                "MaxPool2d: kernel_size, stride and dilation must be at least 1, received "
                f"{self!r}."
            )
        for size, p in zip(self.kernel_size, self.padding, strict=True):
            if not 0 <= p <= size // 2:
                raise ValueError(
                    "MaxPool2d: padding must be at least 0 and at most half the kernel, "
                    f"{size // 2} here, received {self.padding}: a window must not lie in the "
                    "padding alone. Pad the input itself to add more."
                )

    def _refuse_bad_input(self, x: Array) -> None:
        if x.ndim not in (3, 4):
            raise ValueError(
                "MaxPool2d: the input must be (N, C, H, W) or (C, H, W), received shape "
                f"{tuple(x.shape)}. Add the axes that are missing."
            )
        for axis, size in enumerate(x.shape[-2:]):
            if self._windows(axis, size) < 1 or size < 1:
                raise ValueError(
                    f"MaxPool2d: the window spans {self._span(axis)} elements, the padded "
                    f"{('height', 'width')[axis]} has {size + 2 * self.padding[axis]} (input shape "
                    f"{tuple(x.shape)}). Use a smaller kernel, or a larger input."
                )

    def extra_repr(self) -> str:
        shown = [
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}",
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}",
        ]
        return ", ".join([*shown, "return_indices=True"] if self.return_indices else shown)


def _pair(value: int | Pair) -> Pair:
    height, width = value if isinstance(value, tuple | list) else (value, value)
    return height, width
