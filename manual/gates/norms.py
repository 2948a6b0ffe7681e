"""Norms of vectors, along axes, and those of matrices that need no singular values."""

from __future__ import annotations

import math

import numpy as np

from manual.distance import p_norm
from manual.examples import Example
from manual.gates.reductions import (
    EXAMPLES,
    KINKS,
    Axes,
    Dim,
    Reduced,
    Reduction,
    axes_of,
    equations,
    flattened,
    restored,
)
from manual.layer import Array

__all__ = [
    "MatrixNormGate",
    "NormGate",
]


class NormGate(Reduction):
    """y = (Σ |x|^p)^(1/p), the p-norm of all elements, or along axes.

    Args:
        p: 0 counts what is not 0; infinity (minus infinity) takes the largest (smallest).
        dim: the axis, or several; None for all.
        keepdim: whether the axes stay, 1 long.
    """

    equations = equations(
        "sum(j, abs(x[n,j])**p)**(1 / p)",
        "sign(x[n,j]) * (abs(x[n,j]) / Y[n])**(p - 1)\n"
        "where Y[n] = sum(k, abs(x[n,k])**p)**(1 / p)",
    )
    examples = (
        *(e._replace(arguments={"p": 2.0, **e.arguments}) for e in EXAMPLES),
        Example({"p": 1.0}, ((2, 3),)),
        Example({"p": 3.0, "dim": 1}, ((2, 3),)),
        Example({"p": math.inf, "dim": (0, 1)}, ((2, 3),), kinks=KINKS),
    )

    def __init__(self, p: float = 2.0, dim: Dim = None, keepdim: bool = False) -> None:
        super().__init__(dim, keepdim)
        self.p = p

    def variants(self, cache: Reduced) -> tuple[str, ...]:
        return () if math.isinf(self.p) or self.p == 0 else super().variants(cache)

    def forward(self, x: Array) -> tuple[Array, Reduced]:  # type: ignore[override]
        axes = axes_of(self, x)
        d, slope = p_norm(flattened(x, axes), self.p)
        y = d.reshape(tuple(1 if axis in axes else n for axis, n in enumerate(x.shape)))
        return self._leaving(y, axes), Reduced(x, y, axes, slope)

    def reduce(self, x: Array, axes: Axes) -> Array:
        raise NotImplementedError

    def slope(self, cache: Reduced) -> Array:
        """Return sign x (|x| / y)^(p - 1), and 0 where y is."""
        return restored(cache.aside, cache.x.shape, cache.axes)

    def decisions(self, cache: Reduced) -> Array:
        return np.sign(np.real(self.slope(cache)))

    def extra_repr(self) -> str:
        return f"p={self.p}, {super().extra_repr()}"


class MatrixNormGate(Reduction):
    """y = the largest sum of |x| over a column (ord 1) or a row (infinity), or the smallest.

    Args:
        ord: 1 or infinity; negative for the smallest.
        dim: the two axes of the matrices.
        keepdim: whether they stay, 1 long.
    """

    equations = {}
    examples = (
        Example({"ord": 1.0}, ((3, 2),)),
        Example({"ord": -math.inf, "dim": (0, -1)}, ((2, 2, 3),)),
    )

    def __init__(self, ord: float, dim: tuple[int, int] = (-2, -1), keepdim: bool = False) -> None:
        super().__init__(dim, keepdim)
        self.ord = ord

    def forward(self, x: Array) -> tuple[Array, Reduced]:  # type: ignore[override]
        summed, other = (axis % x.ndim for axis in self.dim)  # type: ignore[union-attr]
        if math.isinf(self.ord):
            summed, other = other, summed
        sums = np.abs(x).sum(axis=summed, keepdims=True)
        y = (sums.max if self.ord > 0 else sums.min)(axis=other, keepdims=True)
        mask = (sums == y) * np.ones_like(sums)
        share = np.sign(x) * mask / mask.sum(axis=other, keepdims=True)
        axes = tuple(sorted((summed, other)))
        return self._leaving(y, axes), Reduced(x, y, axes, (share, mask))

    def reduce(self, x: Array, axes: Axes) -> Array:
        raise NotImplementedError

    def slope(self, cache: Reduced) -> Array:
        """Return sign x in the row or column that y is the sum of; equals share."""
        return cache.aside[0]

    def decisions(self, cache: Reduced) -> Array:
        return np.real(cache.aside[1]) * np.sign(np.real(cache.x))

    def extra_repr(self) -> str:
        return f"ord={self.ord}, {super().extra_repr()}"
