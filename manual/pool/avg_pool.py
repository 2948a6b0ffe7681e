"""Average pooling: the mean of each window."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.pool.equations import averages
from manual.pool.windows import Sizes, SlidingPool

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "divided"]


class AvgPoolCache(NamedTuple):
    shape: tuple[int, ...]  # (N, C, H, W)
    divisor: np.ndarray  # (H', W')


class AveragingPool(SlidingPool):
    """Means of sliding windows, and their transpose."""

    count_include_pad = True
    divisor_override: int | None = None

    def means(self, x: Array) -> tuple[Array, np.ndarray]:
        """Return every window's sum over its divisor, and the divisors."""
        self._check_windows(x.shape)
        divisor = self.divisors(x.shape)
        return divided(self._pooled(x, np.add, 0.0), divisor), divisor

    def shared(self, dy: Array, divisor: np.ndarray, shape: tuple[int, ...]) -> Array:
        """Return the transpose: dy over the divisor, at all elements of its window."""
        return self._spread(divided(dy, divisor), shape)

    def divisors(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return what every window's sum is divided by."""
        out = self._out(shape)
        if self.divisor_override is not None:
            return np.full(out, self.divisor_override)
        counts = [self._counts(a, shape[a - self.axes], n) for a, n in enumerate(out)]
        return prod(np.ix_(*counts))  # type: ignore[arg-type, return-value]

    def _check_windows(self, shape: tuple[int, ...]) -> None:
        if self.axes == 3 and any(k > n for k, n in zip(self.kernel_size, shape[-3:], strict=True)):
            raise ValueError(
                f"{type(self).__name__}: of volumes, no window may be larger than the input itself "
                f"(torch refuses it), received kernel_size {self.kernel_size} and input shape "
                f"{tuple(shape)}. Use a smaller kernel."
            )

    def _counts(self, axis: int, size: int, out: int) -> np.ndarray:
        """Return how many elements a window counts along an axis."""
        low = np.arange(out) * self.stride[axis] - self.padding[axis]
        border = self.padding[axis] * self.count_include_pad
        high = np.minimum(low + self.kernel_size[axis], size + border)
        return high - np.maximum(low, -border)


def divided(y: Array, divisor: np.ndarray) -> Array:
    """Return y (…, H', W') over whole numbers (H', W')."""
    return y / np.full_like(y, divisor, shape=divisor.shape)


class _AvgPool(AveragingPool):
    """Average pooling of as many axes as its class says."""

    symbols = {
        "K": "kernel_size", "s": "stride", "p": "padding", "f": "cache.divisor",
    }  # fmt: skip

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        if divisor_override == 0:
            raise ValueError(
                f"{type(self).__name__}: divisor_override divides and must not be 0. None divides "
                "by the number of elements."
            )
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override
        self._set_windows(kernel_size, stride, padding, 1, ceil_mode)

    def forward(self, x: Array) -> tuple[Array, AvgPoolCache]:  # type: ignore[override]
        """Return y (N, C, H', W')."""
        self._refuse_bad_input(x)
        y, divisor = self.means(x)
        return y, AvgPoolCache(tuple(x.shape), divisor)

    def backward(self, grad_output: Array, cache: AvgPoolCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = Σ x / f over each window.

        Shapes: x and dx (N, C, H, W), y and dy (N, C, H', W'), f (H', W').
        Index form:  y_ncuv = Σ_{(i, j) in V(u, v)} x_ncij / f_uv
            dx_ncij = Σ_{(u, v): (i, j) in V(u, v)} dy_ncuv / f_uv    (windows overlap: their sum)
        Element i lies in window u if 0 <= i + p - s u < K; so with columns. Both conditions are of
        one axis alone, so the sums are taken axis by axis.
        Matrix form: y = D⁻¹ S x, S_ui = [i in V(u)], D = diag(f), so dx = Sᵀ D⁻¹ dy.
        f counts the window's elements, with those of the padding (count_include_pad) or without;
        what sticks out beyond the padding (ceil_mode) is never counted.
        One axis or three: the same with as many indices as axes.
        Torch: nn.AvgPool1d to 3d.
        Source: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning (1998), section II.B.
        """
        return (self.shared(grad_output, cache.divisor, cache.shape),), {}

    def extra_repr(self) -> str:
        shown = (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, count_include_pad={self.count_include_pad}"
        )
        if self.divisor_override is None:
            return shown
        return f"{shown}, divisor_override={self.divisor_override}"


class AvgPool1d(_AvgPool):
    r"""Mean of every window of (N, C, L) or (C, L): y_ncu = Σ x / f over the window.

    Arguments are AvgPool2d's, with one size for the one axis, and no divisor_override.

    Raises:
        ValueError: as AvgPool2d.
    """

    axes = 1
    equations = averages(1)
    examples = (
        Example({"kernel_size": 2}, ((2, 2, 5),), exact=True),
        Example({"kernel_size": 2}, ((1, 3),), exact=True),
        Example({"kernel_size": 3, "stride": 2, "padding": 1}, ((2, 6),)),
        Example(
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True,
             "count_include_pad": False},
            ((1, 2, 6),),
        ),
    )  # fmt: skip

    def __init__(
        self,
        kernel_size: int | Sizes,
        stride: int | Sizes | None = None,
        padding: int | Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool):
    r"""Mean of every window of (N, C, H, W) or (C, H, W): y_ncuv = Σ x / f over the window.

    Args:
        kernel_size: (KH, KW) of the window, or one number for both; so with every pair below.
        stride: how far the window moves; None means `kernel_size`.
        padding: rows and columns of zeros added on either side, at most half the kernel.
        ceil_mode: whether a last window that sticks out counts, if it starts inside the image or
            its padding on the left.
        count_include_pad: whether f counts zeros of the padding.
        divisor_override: f, if it is to be another number.

    Raises:
        ValueError: a size below 1, a padding over half the kernel, a divisor of 0, an input that is
            not (N, C, H, W) or (C, H, W), or one smaller than the window.
    """

    axes = 2
    equations = averages(2)
    examples = (
        Example({"kernel_size": 2}, ((2, 1, 4, 5),), exact=True),
        Example(
            {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}, ((2, 4, 5),)
        ),
        Example(
            {"kernel_size": (2, 3), "stride": (2, 3), "padding": 1, "ceil_mode": True,
             "count_include_pad": False},
            ((1, 2, 5, 6),),
        ),
        Example(
            {"kernel_size": 3, "stride": 2, "padding": (0, 1), "ceil_mode": True},
            ((1, 1, 4, 4),),
        ),
        Example(
            {"kernel_size": (2,), "stride": 1, "divisor_override": 3}, ((1, 1, 3, 2),)
        ),
    )  # fmt: skip


class AvgPool3d(_AvgPool):
    r"""Mean of every window of (N, C, D, H, W) or (C, D, H, W): Σ x / f over the window.

    Arguments are AvgPool2d's, with three sizes: (KD, KH, KW).

    Raises:
        ValueError: as AvgPool2d.
    """

    axes = 3
    equations = averages(3)
    examples = (
        Example({"kernel_size": 2}, ((1, 2, 2, 4, 3),), exact=True),
        Example(
            {"kernel_size": (2, 1, 3), "stride": (1, 2, 2), "padding": (1, 0, 1),
             "ceil_mode": True, "count_include_pad": False},
            ((1, 2, 3, 4),),
        ),
        Example(
            {"kernel_size": (1, 2, 2), "stride": 1, "divisor_override": -2}, ((1, 1, 2, 2, 3),),
            exact=True,
        ),
    )  # fmt: skip
