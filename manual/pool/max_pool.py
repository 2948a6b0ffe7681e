"""Max pooling: the largest element of each window, and where it was."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple, Self

import numpy as np

from manual.blocks import blocks, joined
from manual.examples import Example
from manual.layer import Array, Arrays
from manual.pool.equations import largest, won
from manual.pool.picks import gathered
from manual.pool.windows import SlidingPool

__all__ = ["MaxPool1d", "MaxPool2d", "MaxPool3d"]

SYMBOLS = {
    "K": "kernel_size", "s": "stride", "d": "dilation", "p": "padding", "w": "decisions",
}  # fmt: skip


class PoolCache(NamedTuple):
    x: Array  # (N, C, H, W)
    y: Array  # (N, C, H', W')
    winner: Array | None  # given, or None: the first element that equals y


class _MaxPool(SlidingPool):
    """Max pooling of as many axes as its class says."""

    symbols = SYMBOLS
    winner: Array | None = None  # given winners; None lets the largest win

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.return_indices = return_indices
        if return_indices:
            self.outputs = ("output", "indices")
        self._set_windows(kernel_size, stride, padding, dilation, ceil_mode)

    def forward(self, x: Array) -> tuple[Array, PoolCache]:  # type: ignore[override]
        """Return y (N, C, H', W'), or `(y, indices)`."""
        self._refuse_bad_input(x)
        winner = self.winner
        y = self._largest(x) if winner is None else gathered(x, winner, self.axes)
        cache = PoolCache(x, y, winner)
        return (y, self.decisions(cache)) if self.return_indices else y, cache

    def backward(self, grad_output: Array, cache: PoolCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max: each y is one element of x, its winner.

        Shapes: x and dx (N, C, H, W), y and dy (N, C, H', W').
        Index form:  y_ncuv = max_{k,l} x_n,c,r(u,k),q(v,l)   with r(u,k) = s u + d k - p, q alike
            dx_ncij = Σ_{u,v: (i, j) won window (u, v)} dy_ncuv    (windows overlap: their sum)
        Matrix form: y = S x with one 1 in each row of S, so dx = Sᵀ dy. S is never built: for each
        place (k, l) of the window, the windows that it won are [x there = y and none before won].
        One axis or three: the same with as many indices as axes.
        Torch: nn.MaxPool1d to 3d; of equals the first wins, row by row. A window with nan is nan,
        and its last nan wins. The indices are whole numbers: their gradient is not read.
        Source: Scherer, Müller, Behnke, Evaluation of Pooling Operations (2010), section 3.2.
        """
        dy = grad_output[0] if self.return_indices else grad_output
        dx = self._to_first(dy, cache) if cache.winner is None else None
        if dx is None:
            dx = self._to_winners(dy, cache)
        return (dx,), {}

    def decisions(self, cache: PoolCache) -> Array:  # type: ignore[override]
        """Return the winners' indices, as torch counts them: i W + j."""
        return self._first_winners(cache) if cache.winner is None else cache.winner

    def settled(self, winner: Array) -> Self:
        """Return this layer with its winners given: near a tie, rounding before it decides."""
        return self._twin(winner=winner)

    def _largest(self, x: Array) -> Array:
        """Return the running maximum over the places of the window, rows first."""
        return self._pooled(x, np.maximum, -np.inf)

    def _to_first(self, dy: Array, cache: PoolCache) -> Array | None:
        """Return dx, each window's to its first largest element; None if some window has none."""
        parts = []
        places = self._places(cache.x.shape, cache.y.shape[-self.axes :])
        for block in blocks(len(dy), cache.x[:1].size):
            x, y, dy_ = cache.x[block], cache.y[block], dy[block]
            dx = np.zeros_like(dy, shape=x.shape)
            free = np.ones(y.shape, dtype=bool)  # windows whose winner is not found yet
            for place in places:
                won = (x[place.read] == y[place.out]) & free[place.out]
                free[place.out] ^= won
                if self._apart:
                    np.multiply(dy_[place.out], won, out=dx[place.read])
                else:
                    dx[place.read] += dy_[place.out] * won
            if free.any():
                return None
            parts.append(dx)
        return joined(parts)

    @property
    def _apart(self) -> bool:
        """Whether no element lies in two windows."""
        sizes = zip(self.dilation, self.kernel_size, self.stride, strict=True)
        return all(d * (k - 1) < s for d, k, s in sizes)

    def _to_winners(self, dy: Array, cache: PoolCache) -> Array:
        """Return dx, each window's to the element with its winner's index."""
        winner, index = self.decisions(cache), self._indices(cache.x)
        dx = np.zeros_like(dy, shape=cache.x.shape)
        for place in self._places(cache.x.shape, dy.shape[-self.axes :]):
            won = winner[place.out] == index[place.read]
            dx[place.read] += dy[place.out] * won
        return dx

    def _first_winners(self, cache: PoolCache) -> Array:
        """Return the index of each window's first largest element, or of its last nan."""
        x, y, index = cache.x, cache.y, self._indices(cache.x)
        winner = np.full(y.shape, -1)
        for place in self._places(x.shape, y.shape[-self.axes :]):
            seen = winner[place.out]
            here = x[place.read]
            won = ((here == y[place.out]) & (seen < 0)) | (here != here)
            winner[place.out] = np.where(won, index[place.read], seen)
        return winner

    def _indices(self, x: Array) -> np.ndarray:
        """Return every element's index into its image, (H, W)."""
        image = x.shape[-self.axes :]
        return np.arange(prod(image)).reshape(image)

    def extra_repr(self) -> str:
        shown = [
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}",
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}",
        ]
        return ", ".join([*shown, "return_indices=True"] if self.return_indices else shown)


class MaxPool1d(_MaxPool):
    r"""Largest element of every window of (N, C, L): y_ncu = max over the window of x_nc.

    Arguments are MaxPool2d's, with one size for the one axis.

    Raises:
        ValueError: as MaxPool2d.
    """

    axes = 1
    equations = {"output": largest(1), "grad_input": won(1)}
    examples = (
        Example(
            {"kernel_size": 2}, ((2, 2, 5),), exact=True, kinks={"all equal": {"x": 1.0}}
        ),
        Example(
            {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}, ((1, 2, 8),), exact=True
        ),
        Example(  # windows of two elements that share one
            {"kernel_size": 2, "stride": 2, "dilation": 2}, ((2, 2, 9),), exact=True
        ),
        Example(
            {"kernel_size": (3,), "stride": 2, "return_indices": True, "ceil_mode": True},
            ((2, 6),), exact=True,
        ),
    )  # fmt: skip


class MaxPool2d(_MaxPool):
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

    axes = 2
    equations = {"output": largest(2), "grad_input": won(2)}
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


class MaxPool3d(_MaxPool):
    r"""Largest element of every window of (N, C, D, H, W): the maximum over the window of x_nc.

    Arguments are MaxPool2d's, with three sizes: (KD, KH, KW).

    Raises:
        ValueError: as MaxPool2d.
    """

    axes = 3
    equations = {"output": largest(3), "grad_input": won(3)}
    examples = (
        Example(
            {"kernel_size": 2}, ((1, 2, 2, 4, 3),), exact=True, kinks={"all equal": {"x": 1.0}}
        ),
        Example(
            {"kernel_size": (1, 3, 2), "stride": (2, 1, 1), "padding": (0, 1, 1),
             "dilation": (1, 1, 2)},
            ((1, 1, 3, 3, 4),), exact=True,
        ),
        Example(
            {"kernel_size": (2, 1, 2), "return_indices": True, "ceil_mode": True},
            ((1, 3, 2, 5),), exact=True,
        ),
    )  # fmt: skip
