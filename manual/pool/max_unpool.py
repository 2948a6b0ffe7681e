"""Max unpooling: every element back to where max pooling found it, and zeros around it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.pool.equations import unpooled
from manual.pool.picks import gathered
from manual.pool.windows import Pool, Sizes

__all__ = ["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]


class UnpoolCache(NamedTuple):
    indices: np.ndarray  # (N, C, H', W')
    out: Sizes  # (H, W)


class _MaxUnpool(Pool):
    """Max unpooling of as many axes as its class says."""

    symbols = {"w": "cache.indices", "S": "cache.out"}

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        self.stride = self.kernel_size
        if stride is not None:
            self.stride = self._sizes("stride", stride)
        self.padding = self._sizes("padding", padding)

    def forward(  # type: ignore[override]
        self, x: Array, indices: Array, *, output_size: Sequence[int] | None = None
    ) -> tuple[Array, UnpoolCache]:
        """Return y (N, C, H, W) of x and indices (N, C, H', W').

        Args:
            x: what max pooling returned, or something made of it.
            indices: what it returned beside.
            output_size: by name: (H, W), or the whole shape; None: the smallest input that pooling
                with these windows reads in full.
        """
        self._check_shape(x)
        out = self._out(tuple(x.shape), output_size)
        self._check_indices(x, indices, out)
        lead, count = x.shape[: -self.axes], prod(x.shape[-self.axes :])
        y = np.zeros_like(x, shape=(*lead, prod(out)))
        flat = x.reshape(*lead, count), indices.reshape(*lead, count)
        np.put_along_axis(y, flat[1], flat[0], axis=-1)
        return y.reshape(*lead, *out), UnpoolCache(indices, out)

    def backward(self, grad_output: Array, cache: UnpoolCache) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through y = x, put to the places w: one element of y for each of x.

        Shapes: x, w and dx (N, C, H', W'), y and dy (N, C, H, W).
        Index form:  y_ncij = Σ_{u,v: w_ncuv = i W + j} x_ncuv,  which is one element or none
            dx_ncuv = dy_ncij with i W + j = w_ncuv
        Matrix form: y = Sᵀ x, dx = S dy, where y = S x is max pooling with these winners.
        One axis or three: the same with as many indices as axes.
        Torch: nn.MaxUnpool1d to 3d. Where the pool's windows overlapped, several elements may name
        one place: the last is written there, and each gets its dy, which is the derivative only if
        they are one element.
        Source: Zeiler and Fergus, Visualizing Convolutional Networks (2014), section 2.1.
        """
        return (gathered(grad_output, cache.indices, self.axes), None), {}

    def _out(self, shape: tuple[int, ...], asked: Sequence[int] | None) -> Sizes:
        """Return (H, W): H = (H' - 1) s + K - 2 p, or what is asked for, less than s from it.

        Raises:
            ValueError: it is further from it.
        """
        name, own = type(self).__name__, shape[-self.axes :]
        usual = tuple(
            (n - 1) * s + k - 2 * p
            for n, s, k, p in zip(own, self.stride, self.kernel_size, self.padding, strict=True)
        )
        found = usual if asked is None else tuple(map(int, asked))
        if len(found) == self.axes + 2:
            found = found[2:]
        near = len(found) == self.axes and all(
            u - s < n < u + s for u, s, n in zip(usual, self.stride, found, strict=True)
        )
        if asked is not None and not near:
            raise ValueError(
                f"{name}: output_size must be less than the stride {self.stride} away from "
                f"{usual}, which the windows cover; received {asked}."
            )
        if min(found) < 1:
            raise ValueError(f"{name}: the output would have the sizes {found}. Pad less.")
        return found

    def _check_indices(self, x: Array, indices: Array, out: Sizes) -> None:
        name, size = type(self).__name__, prod(out)
        if tuple(indices.shape) != tuple(x.shape):
            raise ValueError(
                f"{name}: the indices must have the input's shape {tuple(x.shape)}, received "
                f"{tuple(indices.shape)}. MaxPool2d(…, return_indices=True) returns them."
            )
        if indices.size and (indices.min() < 0 or indices.max() >= size):
            raise ValueError(
                f"{name}: an index is a place in an image of {out}, from 0 to {size - 1}; received "
                f"{indices.min()} to {indices.max()}."
            )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _example(arguments: dict, indices: Any) -> Example:
    places = np.array(indices)
    return Example(arguments, (places.shape, places), exact=True)


class MaxUnpool1d(_MaxUnpool):
    r"""Elements of (N, C, L') or (C, L') back where MaxPool1d found them; zeros elsewhere.

    Args:
        kernel_size, stride, padding: the pool's.

    Raises:
        ValueError: as MaxUnpool2d.
    """

    axes = 1
    equations = unpooled(1)
    examples = (
        _example({"kernel_size": 2}, [[[1, 2], [3, 0]]]),
        _example({"kernel_size": 3, "stride": 2, "padding": 1}, [[4, 0, 3]]),
    )


class MaxUnpool2d(_MaxUnpool):
    r"""Elements of (N, C, H', W') or (C, H', W') back where MaxPool2d found them; zeros elsewhere.

    Args:
        kernel_size: (KH, KW) of the pool's window, or one number for both; so with the others.
        stride: how far its window moved; None means `kernel_size`.
        padding: what was added to its input.

    Raises:
        ValueError: an input of other axes; indices of another shape or beyond the output; an
            output_size that these windows cannot have come from.
    """

    axes = 2
    equations = unpooled(2)
    examples = (
        _example({"kernel_size": 2}, [[[[0, 3], [13, 10]], [[5, 6], [8, 15]]]]),
        _example({"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 1)}, [[[1, 3, 4, 7]]]),
        _example({"kernel_size": (1, 2)}, [[[[1, 2]]], [[[0, 3]]]]),
    )


class MaxUnpool3d(_MaxUnpool):
    r"""Elements of (N, C, D', H', W') or (C, D', H', W') back where MaxPool3d found them.

    Args:
        kernel_size, stride, padding: the pool's, of three axes.

    Raises:
        ValueError: as MaxUnpool2d.
    """

    axes = 3
    equations = unpooled(3)
    examples = (
        _example({"kernel_size": (2, 1, 2)}, [[[[[1, 6], [4, 3]]]]]),
        _example({"kernel_size": (1, 2, 3), "stride": (1, 2, 2)}, [[[[0, 8]], [[17, 13]]]]),
    )
