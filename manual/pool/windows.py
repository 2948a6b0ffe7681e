"""Windows that slide over 1, 2 or 3 axes: where they are, and what lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.layer import Array, Layer

__all__ = ["Place", "Pool", "Sizes", "SlidingPool"]

Sizes = tuple[int, ...]  # one number for each axis that is pooled
SHAPES = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class Place(NamedTuple):
    """One place of the window, (k, l) of two: the windows that have it, and what is there."""

    out: tuple  # index into (…, H', W')
    read: tuple  # index into (…, H, W), as many elements


class Pool(Layer):
    """A layer of images of 1, 2 or 3 axes; `axes` says how many, which are the last ones."""

    axes: ClassVar[int]

    def _sizes(self, name: str, value: Any) -> Any:
        """Return one number for each axis, of one for all or of as many.

        Raises:
            ValueError: there is another number of them.
        """
        if not isinstance(value, Sequence):
            return (value,) * self.axes
        if len(value) not in (1, self.axes):
            raise ValueError(
                f"{type(self).__name__}: {name} must be one number, or {self.axes}: one for each "
                f"axis that is pooled; received {value}."
            )
        return tuple(value) * (self.axes // len(value))

    def _check_shape(self, x: Array) -> None:
        """Raise ValueError where an input is not made of images, or an image is empty."""
        shape, many = tuple(x.shape), SHAPES[self.axes]
        if len(shape) not in (self.axes + 1, self.axes + 2):
            raise ValueError(
                f"{type(self).__name__}: the input must be {many} or "
                f"{many.replace('(N, ', '(')}, received shape {shape}. Add the axes that are "
                "missing."
            )
        if not prod(shape[-self.axes - 1 :]):
            raise ValueError(
                f"{type(self).__name__}: only the batch may be empty, received shape {shape}: "
                "nothing to pool."
            )


class SlidingPool(Pool):
    """A layer that makes one number of each window."""

    kernel_size: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    ceil_mode: bool

    def _set_windows(
        self, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> None:
        """Take the windows' sizes, one number for all axes or one for each.

        Raises:
            ValueError: a size that no window can have.
        """
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        self.stride = (
            self._sizes("stride", stride) if stride not in (None, (), []) else self.kernel_size
        )
        self.padding = self._sizes("padding", padding)
        self.dilation, self.ceil_mode = self._sizes("dilation", dilation), ceil_mode
        self._refuse_bad_sizes()

    def _pooled(self, x: Array, pick: np.ufunc, outside: float) -> Array:
        """Return pick over every window, axis by axis; what is not in x is `outside`."""
        out, y = self._out(x.shape), x
        for axis in range(-self.axes, 0):
            y = self._pooled_along(axis, y.swapaxes(axis, -1), out[axis], pick, outside)
            y = y.swapaxes(axis, -1)
        return y

    def _pooled_along(self, axis: int, x: Array, out: int, pick: np.ufunc, outside: float) -> Array:
        """Return pick over the windows along one axis, which is the last of x."""
        met = self._met(axis, x.shape[-1], out)
        if met[1:] and all(windows == slice(0, out) for windows, _ in met):
            return reduce(pick, (x[..., read] for _, read in met))
        y = np.full_like(x, outside, shape=(*x.shape[:-1], out))
        for windows, read in met:
            y[..., windows] = pick(y[..., windows], x[..., read])
        return y

    def _spread(self, dy: Array, shape: tuple[int, ...]) -> Array:
        """Return the transpose of the windows' sums: every window's dy at all its elements."""
        dx = dy
        for axis in range(-self.axes, 0):
            dx = self._spread_along(axis, dx.swapaxes(axis, -1), shape[axis]).swapaxes(axis, -1)
        return dx

    def _spread_along(self, axis: int, dy: Array, size: int) -> Array:
        dx = np.zeros_like(dy, shape=(*dy.shape[:-1], size))
        for windows, read in self._met(axis, size, dy.shape[-1]):
            dx[..., read] += dy[..., windows]
        return dx

    def _places(self, shape: tuple[int, ...], out: Sizes) -> list[Place]:
        """Return every place of the window that meets the input, in the order of its elements."""
        met = [
            self._met(axis, size, n)
            for axis, (size, n) in enumerate(zip(shape[-self.axes :], out, strict=True))
        ]
        return [
            Place((..., *(u for u, _ in at)), (..., *(i for _, i in at))) for at in product(*met)
        ]

    def _met(self, axis: int, size: int, out: int) -> list[tuple[slice, slice]]:
        """Return, for each element of the window along an axis, where it meets the input.

        First the windows that have it in the input, then what they meet there; without those that
        lie outside for all.
        """
        s, found = self.stride[axis], []
        for k in range(self.kernel_size[axis]):
            first = k * self.dilation[axis] - self.padding[axis]
            a, e = max(0, -(first // s)), min(out, (size - 1 - first) // s + 1)
            if a < e:
                found.append((slice(a, e), slice(s * a + first, s * (e - 1) + first + 1, s)))
        return found

    def _out(self, shape: tuple[int, ...]) -> Sizes:
        return tuple(self._windows(axis, size) for axis, size in enumerate(shape[-self.axes :]))

    def _windows(self, axis: int, size: int) -> int:
        """Return how many windows fit; in ceil mode also one that starts inside but sticks out."""
        s, p = self.stride[axis], self.padding[axis]
        room = size + 2 * p - self._span(axis)
        count = (-(-room // s) if self.ceil_mode else room // s) + 1
        return count - 1 if (count - 1) * s >= size + p else count

    def _span(self, axis: int) -> int:
        return self.dilation[axis] * (self.kernel_size[axis] - 1) + 1

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def _refuse_bad_sizes(self) -> None:
        name = type(self).__name__
        if min(*self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError(
                f"{name}: kernel_size, stride and dilation must be at least 1, received {self!r}."
            )
        for size, p in zip(self.kernel_size, self.padding, strict=True):
            if not 0 <= p <= size // 2:
                raise ValueError(
                    f"{name}: padding must be at least 0 and at most half the kernel, "
                    f"{size // 2} here, received {self.padding}: a window must not lie in the "
                    "padding alone. Pad the input itself to add more."
                )

    def _refuse_bad_input(self, x: Array) -> None:
        shape, name = tuple(x.shape), type(self).__name__
        self._check_shape(x)
        for axis, size in enumerate(shape[-self.axes :]):
            if self._windows(axis, size) < 1:
                raise ValueError(
                    f"{name}: the window spans {self._span(axis)} elements, the padded "
                    f"{NAMES[self.axes][axis]} has {size + 2 * self.padding[axis]} (input shape "
                    f"{shape}). Use a smaller kernel, or a larger input."
                )
