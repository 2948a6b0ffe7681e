"""Adaptive average pooling: as many windows as asked for, of any size, and their means."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from manual.arguments import whole_numbers
from manual.examples import Example
from manual.layer import Array, Arrays
from manual.pool.avg_pool import divided
from manual.pool.equations import ADAPTIVE, adaptive
from manual.pool.windows import Pool, Sizes

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"]

Span = tuple[int, int]  # from, to


def spans(size: int, count: int) -> list[Span]:
    """Return `count` windows that cover an axis evenly: from ⌊u n / o⌋ to ⌈(u + 1) n / o⌉."""
    return [(u * size // count, -(-(u + 1) * size // count)) for u in range(count)]


def output_sizes(owner: str, value: Any, axes: int) -> tuple[int | None, ...]:
    """Return the sizes asked for, None for the input's own.

    Raises:
        ValueError: they are none that torch takes.
    """
    found = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    whole = [n for n in found if n is not None]
    least = min(whole, default=1) if whole_numbers(whole) else 0
    if len(found) != axes or least < 1 or value is None or found == (None,):
        many = "a number" if axes == 1 else f"a number, or {axes} of which any may be None"
        raise ValueError(
            f"{owner}: output_size must be {many}, none below 1 (torch has no gradient for 0); "
            f"received {value!r}."
        )
    return found


class AdaptiveCache(NamedTuple):
    sizes: Sizes  # (H, W)
    out: Sizes  # (H', W')


class _AdaptiveAvgPool(Pool):
    """Adaptive average pooling of as many axes as its class says."""

    symbols = ADAPTIVE

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_sizes(type(self).__name__, output_size, self.axes)

    def forward(self, x: Array) -> tuple[Array, AdaptiveCache]:  # type: ignore[override]
        """Return y (N, C, H', W')."""
        self._check_shape(x)
        sizes = tuple(x.shape[-self.axes :])
        out = tuple(n if o is None else o for o, n in zip(self.output_size, sizes, strict=True))
        y = x
        for axis, (n, o) in enumerate(zip(sizes, out, strict=True), -self.axes):
            y = _sums(y, axis, spans(n, o))
        return divided(y, _counts(sizes, out)), AdaptiveCache(sizes, out)

    def backward(self, grad_output: Array, cache: AdaptiveCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = the mean of x over each window.

        Shapes: x and dx (N, C, H, W), y and dy (N, C, H', W').
        Window u of H' holds the rows from a_u = ⌊u H / H'⌋ to b_u = ⌈(u + 1) H / H'⌉, without that;
        neighbours share a row where H' does not divide H. So with columns.
        Index form:  f_uv = (b_u - a_u) (b_v - a_v),   y_ncuv = Σ_{a_u <= i < b_u, …} x_ncij / f_uv
            dx_ncij = Σ_{(u, v): a_u <= i < b_u, a_v <= j < b_v} dy_ncuv / f_uv
        Matrix form: y = D⁻¹ S x, S_ui = [a_u <= i < b_u], so dx = Sᵀ D⁻¹ dy, as in AvgPool2d.
        One axis or three: the same with as many indices as axes.
        Torch: nn.AdaptiveAvgPool1d to 3d.
        Source: He, Zhang, Ren, Sun, Spatial Pyramid Pooling (2014), section 2.3.
        """
        dx = divided(grad_output, _counts(cache.sizes, cache.out))
        for axis, (n, o) in enumerate(zip(cache.sizes, cache.out, strict=True), -self.axes):
            dx = _spread(dx, axis, spans(n, o), n)
        return (dx,), {}

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def _at(axis: int, low: int, high: int) -> tuple:
    """Return an index to part of an axis that is counted from the end."""
    return (..., slice(low, high), *[slice(None)] * (-1 - axis))


def _sums(x: Array, axis: int, windows: list[Span]) -> Array:
    return np.stack([x[_at(axis, *span)].sum(axis=axis) for span in windows], axis=axis)


def _spread(dy: Array, axis: int, windows: list[Span], size: int) -> Array:
    dx = np.zeros_like(dy, shape=(*dy.shape[:axis], size, *dy.shape[dy.ndim + axis + 1 :]))
    for u, (low, high) in enumerate(windows):
        dx[_at(axis, low, high)] += dy[_at(axis, u, u + 1)]
    return dx


def _counts(sizes: Sizes, out: Sizes) -> np.ndarray:
    """Return how many elements each window holds."""
    own = [[high - low for low, high in spans(n, o)] for n, o in zip(sizes, out, strict=True)]
    return prod(np.ix_(*map(np.array, own)))  # type: ignore[arg-type, return-value]


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    r"""Means of output_size windows that cover (N, C, L) or (C, L) evenly.

    Args:
        output_size: L', the length of the output.

    Raises:
        ValueError: output_size is below 1; the input has other axes or no elements.
    """

    axes = 1
    equations = adaptive(1)
    examples = (
        Example({"output_size": 2}, ((2, 2, 5),)),
        Example({"output_size": 2}, ((2, 3),)),
    )


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    r"""Means of output_size windows that cover (N, C, H, W) or (C, H, W) evenly.

    Args:
        output_size: (H', W') of the output, or one number for both; None is the input's size.

    Raises:
        ValueError: a size is below 1; the input has other axes or no elements.
    """

    axes = 2
    equations = adaptive(2)
    examples = (
        Example({"output_size": (2, 3)}, ((2, 2, 5, 4),)),
        Example({"output_size": (None, 2)}, ((2, 3, 4),), exact=True),
        Example({"output_size": 1}, ((1, 2, 2, 3),)),
        Example({"output_size": (4, None)}, ((1, 1, 3, 2),)),
    )


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    r"""Means of output_size windows that cover (N, C, D, H, W) or (C, D, H, W) evenly.

    Args:
        output_size: (D', H', W') of the output, or one number for all; None is the input's size.

    Raises:
        ValueError: a size is below 1; the input has other axes or no elements.
    """

    axes = 3
    equations = adaptive(3)
    examples = (
        Example({"output_size": (2, 1, 3)}, ((1, 2, 3, 2, 4),)),
        Example({"output_size": (None, 2, 2)}, ((2, 2, 3, 2),)),
    )
