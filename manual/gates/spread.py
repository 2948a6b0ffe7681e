"""How far elements lie from their mean: variance and standard deviation, alone or with the mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manual.examples import Example
from manual.gates.reductions import (
    EXAMPLES,
    Axes,
    Dim,
    Reduced,
    Reduction,
    equations,
    number,
)
from manual.layer import Array, Arrays

__all__ = [
    "StdGate",
    "StdMeanGate",
    "VarGate",
    "VarMeanGate",
]


class Spread(Reduction):
    """A measure of how far elements lie from their mean.

    Args:
        dim: the axis, or several; None for all.
        correction: c: squares are divided by N - c.
        keepdim: whether the axes stay, 1 long.
    """

    examples = (
        *EXAMPLES,
        Example({"dim": 0, "correction": 0}, ((3, 2),)),
    )  # fmt: skip

    def __init__(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> None:
        super().__init__(dim, keepdim)
        self.correction = correction

    def extra_repr(self) -> str:
        return f"dim={self.dim}, correction={self.correction}, keepdim={self.keepdim}"

    def freedom(self, x: Array, axes: Axes) -> float:
        """Return N - c."""
        return math.prod(x.shape[axis] for axis in axes) - self.correction


SQUARES = "sum(j, (x[n,j] - m[n])**2) / (N - correction)"
MEAN = "\nwhere m[n] = mean(k, x[n,k])"
VARIANCE = f"v[n] = sum(k, (x[n,k] - m[n])**2) / (N - correction){MEAN}"


class VarGate(Spread):
    """y = Σ (x - mean)² / (N - c), the variance."""

    equations = equations(SQUARES + MEAN, "2 * (x[n,j] - m[n]) / (N - correction)" + MEAN)

    def reduce(self, x: Array, axes: Axes) -> Array:
        return variance(x, axes, self.freedom(x, axes))

    def slope(self, cache: Reduced) -> Array:
        return centred(cache.x, cache.axes) * over(2, self.freedom(cache.x, cache.axes))


class StdGate(Spread):
    """y = √(Σ (x - mean)² / (N - c)); where it is 0, the slope is taken as 0."""

    equations = equations(
        f"sqrt({SQUARES}){MEAN}",
        f"(x[n,j] - m[n]) / (N - correction) / sqrt(v[n])\nwhere {VARIANCE}",
    )

    def reduce(self, x: Array, axes: Axes) -> Array:
        return np.sqrt(variance(x, axes, self.freedom(x, axes)))

    def slope(self, cache: Reduced) -> Array:
        x, y, axes, _ = cache
        scale = 1 / np.where(y == 0, 1, y)  # where y is 0, so is x less its mean
        return centred(x, axes) * over(1, self.freedom(x, axes)) * scale


def centred(x: Array, axes: Axes) -> Array:
    """Return x less its mean."""
    return x - x.sum(axis=axes, keepdims=True) / number(x, axes)


def variance(x: Array, axes: Axes, freedom: float) -> Array:
    """Return Σ (x - mean)² over the degrees of freedom, of which there are at least 0."""
    d = centred(x, axes)
    return (d * d).sum(axis=axes, keepdims=True) * over(1, max(freedom, 0))


def over(a: float, b: float) -> float:
    """Return a / b, and inf for b = 0."""
    return a / b if b else math.inf


class VarMeanGate(Spread):
    """The variance, and the mean."""

    outputs = ("var", "mean")
    equations = {}
    spread: type[Spread] = VarGate

    def reduce(self, x: Array, axes: Axes) -> Array:
        return self.spread.reduce(self, x, axes)  # type: ignore[type-var]

    def slope(self, cache: Reduced) -> Array:
        return self.spread.slope(self, cache)

    def forward(self, x: Array) -> tuple[Any, Reduced]:  # type: ignore[override]
        y, cache = super().forward(x)
        mean = x.sum(axis=cache.axes, keepdims=True) / number(x, cache.axes)
        return (y, self._leaving(mean, cache.axes)), cache

    def backward(self, grad_output: Any, cache: Reduced) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through v = var x (or its root) and m = mean x: each as by itself, added.

        dx = dv ∂v/∂x + dm / N
        Torch: torch.var_mean, torch.std_mean.
        Source: the gates of both, whose input branches.
        """
        dv, dm = grad_output
        (dx,), _ = super().backward(dv, cache)
        return (dx + self._stretched(dm, cache) / cache.elements,), {}


class StdMeanGate(VarMeanGate):
    """The standard deviation, and the mean."""

    outputs = ("std", "mean")
    spread = StdGate
