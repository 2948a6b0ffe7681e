"""Running sums and products along an axis, differences, and areas under a line."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["CumProdGate", "CumSumGate", "DiffGate", "TrapezoidGate"]


class RowsCache(NamedTuple):
    x: Array  # (…, n), the axis last
    y: Array


class Running(Layer):
    """A function of each element and those before it, along an axis.

    Args:
        dim: the axis.
    """

    symbols = {"j": "dim"}
    examples = (Example({"dim": 0}, ((3, 2),)), Example({"dim": -1}, ((2, 3),)))

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    @abstractmethod
    def run(self, x: Array) -> Array:
        """Return the results along the last axis."""

    @abstractmethod
    def back(self, dy: Array, x: Array, y: Array) -> Array:
        """Return the input's gradient along the last axis."""

    def forward(self, x: Array) -> tuple[Array, RowsCache]:  # type: ignore[override]
        if not np.ndim(x):
            x = x.reshape(1)
            y = self.run(x)
            return y.reshape(()), RowsCache(x, y)
        x = np.moveaxis(x, self.dim, -1)
        y = self.run(x)
        return np.moveaxis(y, -1, self.dim), RowsCache(x, y)

    def backward(self, grad_output: Array, cache: RowsCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_i = f(x_1 … x_i): x_j is in every later y.

        dx_j = Σ_(i >= j) dy_i ∂y_i/∂x_j, summed from the end on: the sum at j is that at j + 1,
        times what one step more brings, and dy_j.
        Torch: the function of this name.
        Source: the chain rule, as through time.
        """
        if not np.ndim(grad_output):
            return (self.back(np.reshape(grad_output, 1), *cache).reshape(()),), {}
        dx = self.back(np.moveaxis(grad_output, self.dim, -1), *cache)
        return (np.moveaxis(dx, -1, self.dim),), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class CumSumGate(Running):
    """y_i = Σ x_k over k <= i."""

    equations = {
        "output": "y[n,j] = sum(k, (k <= j) * x[n,k])",
        "grad_input": "dx[n,j] = sum(k, (k >= j) * dy[n,k])",
    }

    def run(self, x: Array) -> Array:
        return np.cumsum(x, axis=-1)

    def back(self, dy: Array, x: Array, y: Array) -> Array:
        return np.cumsum(dy[..., ::-1], axis=-1)[..., ::-1]


class CumProdGate(Running):
    """y_i = Π x_k over k <= i."""

    equations = {
        "output": "y[n,j] = prod(k, k <= j, x[n,k])",
        "grad_input": "dx[n,j] = sum(i, (i >= j) * dy[n,i] * prod(k, k <= i and k != j, x[n,k]))",
    }

    def run(self, x: Array) -> Array:
        return np.cumprod(x, axis=-1)

    def back(self, dy: Array, x: Array, y: Array) -> Array:
        """Return what is before j times s_j = dy_j + x_(j+1) s_(j+1): y / x_j fails at 0."""
        s = dy.copy()
        for j in range(x.shape[-1] - 2, -1, -1):
            s[..., j] += x[..., j + 1] * s[..., j + 1]
        s[..., 1:] *= y[..., :-1]
        return s


class JoinedCache(NamedTuple):
    ends: tuple[int, ...]  # where before, x and after end along the axis


class DiffGate(Layer):
    """y_i = x_(i+1) - x_i along an axis; of x with more elements before and after it, where given.

    Args:
        n: how many times.
        dim: the axis.
    """

    equations = {"output/n = 1": "y[m,j] = x[m,j + 1] - x[m,j]"}
    symbols = {"j": "dim"}
    examples = (
        Example({"dim": 0}, ((3, 2),), exact=True),
        Example({"n": 2}, ((2, 2), (2, 1), (2, 1)), exact=True),
    )

    def __init__(self, n: int = 1, dim: int = -1) -> None:
        self.n, self.dim = n, dim

    def forward(  # type: ignore[override]
        self, x: Array, before: Array | None = None, after: Array | None = None
    ) -> tuple[Array, JoinedCache]:
        given = [p for p in (before, x, after) if p is not None]
        y = np.concatenate([np.moveaxis(p, self.dim, -1) for p in given], axis=-1)
        lengths = [0 if p is None else np.shape(p)[self.dim] for p in (before, x, after)]
        for _ in range(min(self.n, y.shape[-1])):
            y = y[..., 1:] - y[..., :-1]
        ends = tuple(sum(lengths[: k + 1]) for k in range(3))
        return np.moveaxis(y, -1, self.dim), JoinedCache(ends)

    def backward(self, grad_output: Array, cache: JoinedCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through y_i = x_(i+1) - x_i: x_i is in y_(i-1), and negated in y_i.

        dx_i = dy_(i-1) - dy_i, with 0 beyond both ends, as often as there were differences; each
        of the joined arrays gets its part.
        Torch: torch.diff.
        Source: the subtract gate, at every place.
        """
        one, two, three = cache.ends
        dy = np.moveaxis(grad_output, self.dim, -1)
        for _ in range(self.n):
            dy = padded(dy, True) - padded(dy, False)
        if self.n >= three:  # nothing was left
            dy = np.zeros_like(dy, shape=(*dy.shape[:-1], three))
        dx, before, after = dy[..., one:two], dy[..., :one], dy[..., two:]
        parts = (np.moveaxis(d, -1, self.dim) for d in (dx, before, after))
        kept = (True, one > 0, three > two)
        return tuple(d if k else None for d, k in zip(parts, kept, strict=True)), {}

    def extra_repr(self) -> str:
        return f"n={self.n}, dim={self.dim}"


class AreaCache(NamedTuple):
    y: Array  # (…, n), the axis last
    steps: Array | float  # between the x; a number where they are alike
    shapes: tuple[tuple[int, ...], tuple[int, ...] | None]  # of y and x with the axis last


class TrapezoidGate(Layer):
    """The area under the line through points, along an axis: Σ (x_(i+1) - x_i) (y_i + y_(i+1)) / 2.

    Args:
        dx: the distance of the points, where no x is given.
        dim: the axis.
        running: whether every partial sum is wanted.
    """

    equations = {}
    examples = (
        Example({"dx": 0.5, "dim": 0}, ((3, 2),)),
        Example({}, ((2, 4), Draw((4,), "increasing"))),
        Example({"dim": 0, "running": True}, ((3, 2), Draw((3, 2), "increasing"))),
    )

    def __init__(self, dx: float = 1.0, dim: int = -1, running: bool = False) -> None:
        self.dx, self.dim, self.running = dx, dim, running

    def forward(self, y: Array, x: Array | None = None) -> tuple[Array, AreaCache]:  # type: ignore[override]
        y = np.moveaxis(y, self.dim, -1)
        steps, shape = self.dx, None
        if x is not None:
            x = np.moveaxis(x, self.dim, -1) if np.ndim(x) > 1 else x
            steps, shape = x[..., 1:] - x[..., :-1], np.shape(x)
        areas = steps * (y[..., 1:] + y[..., :-1]) / 2
        cache = AreaCache(y, steps, (np.shape(y), shape))
        if not self.running:
            return areas.sum(axis=-1), cache
        return np.moveaxis(np.cumsum(areas, axis=-1), -1, self.dim), cache

    def backward(self, grad_output: Array, cache: AreaCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through the areas a_i = h_i (y_i + y_(i+1)) / 2 with h_i = x_(i+1) - x_i.

        da_i = dz, and of running sums z_k = Σ_(i <= k) a_i it is Σ_(k >= i) dz_k
        dy_i = (h_i da_i + h_(i-1) da_(i-1)) / 2
        dh_i = da_i (y_i + y_(i+1)) / 2,  dx_i = dh_(i-1) - dh_i
        Torch: torch.trapezoid, torch.cumulative_trapezoid.
        Source: the trapezoidal rule.
        """
        y, steps, (y_shape, x_shape) = cache
        if self.running:
            da = np.moveaxis(grad_output, self.dim, -1)
            da = np.cumsum(da[..., ::-1], axis=-1)[..., ::-1]
        else:
            da = np.expand_dims(grad_output, -1) * np.ones_like(y[..., 1:])
        dy = padded(da * steps / 2, False) + padded(da * steps / 2, True)
        dy = np.moveaxis(summed_to(dy, y_shape), -1, self.dim)
        if x_shape is None:
            return (dy, None), {}
        dh = da * (y[..., 1:] + y[..., :-1]) / 2
        dx = summed_to(padded(dh, True) - padded(dh, False), x_shape)
        return (dy, np.moveaxis(dx, -1, self.dim) if len(x_shape) > 1 else dx), {}

    def extra_repr(self) -> str:
        return f"dx={self.dx}, dim={self.dim}, running={self.running}"


def padded(x: Array, before: bool) -> Array:
    """Return x with a 0 before its last axis, or else behind it."""
    none = np.zeros_like(x, shape=(*x.shape[:-1], 1))
    return np.concatenate([none, x] if before else [x, none], axis=-1)
