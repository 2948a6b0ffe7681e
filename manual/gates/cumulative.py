"""Running sums and products along an axis, differences, and areas under a line."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["CumProdGate", "CumSumGate", "DiffGate", "LogCumSumExpGate"]


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


class LogCumSumExpGate(Running):
    """y_i = log Σ e^(x_k) over k <= i."""

    equations = {
        "output": "y[n,j] = log(sum(k, (k <= j) * exp(x[n,k])))",
        "grad_input": "dx[n,j] = sum(k, (k >= j) * dy[n,k] * exp(x[n,j]) / s[n,k])\n"
        "where s[n,k] = sum(i, (i <= k) * exp(x[n,i]))",
    }

    def run(self, x: Array) -> Array:
        from manual.gates.pairs import log_of_sum

        y = x.copy()
        for i in range(1, x.shape[-1]):
            y[..., i] = log_of_sum(y[..., i - 1], x[..., i])
        return y

    def back(self, dy: Array, x: Array, y: Array) -> Array:
        """Return e^(x_j - y_j) r_j with r_j = dy_j + e^(y_j - y_(j+1)) r_(j+1)."""
        r = dy.copy()
        for j in range(x.shape[-1] - 2, -1, -1):
            r[..., j] += np.exp(difference(y[..., j], y[..., j + 1])) * r[..., j + 1]
        return np.exp(difference(x, y)) * r


def difference(a: Array, b: Array) -> Array:
    """Return a - b, and 0 of equal infinities."""
    none = np.zeros_like(a)
    return np.where(a == b, none, a - np.where(a == b, none, b))


class DiffGate(Running):
    """y_i = x_(i+1) - x_i.

    Args:
        n: how many times.
        dim: the axis.
    """

    equations = {"output/n = 1": "y[m,j] = x[m,j + 1] - x[m,j]"}
    examples = (
        Example({"dim": 0}, ((3, 2),), exact=True),
        Example({"n": 2}, ((2, 4),), exact=True),
    )

    def __init__(self, n: int = 1, dim: int = -1) -> None:
        self.n, self.dim = n, dim

    def run(self, x: Array) -> Array:
        for _ in range(min(self.n, x.shape[-1])):
            x = x[..., 1:] - x[..., :-1]
        return x

    def back(self, dy: Array, x: Array, y: Array) -> Array:
        """Return dy shifted by one, less dy, as often as there were differences."""
        if self.n >= x.shape[-1]:
            return np.zeros_like(x)
        for _ in range(self.n):
            none = np.zeros_like(dy, shape=(*dy.shape[:-1], 1))
            dy = np.concatenate([none, dy], axis=-1) - np.concatenate([dy, none], axis=-1)
        return dy

    def extra_repr(self) -> str:
        return f"n={self.n}, dim={self.dim}"
