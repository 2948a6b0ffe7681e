"""Softmax and LogSoftmax on their own, with the full vector-Jacobian product.

In a classifier, CrossEntropyLoss on the raw scores does both steps at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["LogSoftmax", "Softmax"]

GROUP = "activation"  # how the registry lists these layers


EXAMPLES = (
    *(
        Example({"dim": dim}, (Draw((3, 4), high=2),), kinks={"tied maxima": {"x": 1.0}})
        for dim in (-1, 0)
    ),
    *(Example({"dim": dim}, (Draw((2, 3, 4), high=2),)) for dim in (-1, 0, 1)),
    Example({"dim": 1}, ((1, 5),)),
)


class SoftmaxCache(NamedTuple):
    y: Array


class Softmax(Layer):
    """Normalised exponentials: y_i = e^(x_i) / Σ_j e^(x_j) along an axis.

    Args:
        dim: the axis whose elements share the sum 1.
    """

    equations = {
        "output": "y[n,j] = exp(x[n,j]) / sum(k, exp(x[n,k]))",
        "grad_input": (
            "dx[n,j] = y[n,j] * (dy[n,j] - sum(k, dy[n,k] * y[n,k]))\n"
            "where y[n,j] = exp(x[n,j]) / sum(k, exp(x[n,k]))\n"
            "matrix: ∂L/∂x = y ⊙ (δ − Σ δ ⊙ y)"
        ),
    }
    symbols = {"j": "dim"}  # the axis that this index runs along
    examples = EXAMPLES

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Array) -> tuple[Array, SoftmaxCache]:  # type: ignore[override]
        """Return e^(x - m) / Σ e^(x - m); the largest element m cancels and bounds the exponent."""
        y = np.exp(x - x.max(axis=self.dim, keepdims=True))
        y /= y.sum(axis=self.dim, keepdims=True)
        return y, SoftmaxCache(y)

    def backward(self, grad_output: Array, cache: SoftmaxCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_i = e^(x_i) / s with s = Σ_k e^(x_k), along one axis.

        Every y_i sees every x_j. Quotient rule, with ds/dx_j = e^(x_j):
            ∂y_i/∂x_j = [i = j] e^(x_i) / s - e^(x_i) e^(x_j) / s² = y_i ([i = j] - y_j)
            dx_j = Σ_i dy_i y_i ([i = j] - y_j) = y_j (dy_j - Σ_i dy_i y_i)
        ->  dx = y · (dy - Σ dy · y), the sum along the axis: no Jacobian is ever built.
        With dy all ones, dx = 0: a shift of x changes nothing.
        Torch: nn.Softmax, where `dim` is best given.
        Source: Bridle, Probabilistic Interpretation of Feedforward Classification Networks (1990).
        """
        dx = grad_output * cache.y
        total = dx.sum(axis=self.dim, keepdims=True)
        return (cache.y * (grad_output - total),), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Layer):
    """Logarithm of softmax: y_i = x_i - log Σ_j e^(x_j) along an axis.

    Args:
        dim: the axis of the sum.
    """

    equations = {
        "output": "y[n,j] = x[n,j] - log(sum(k, exp(x[n,k])))",
        "grad_input": (
            "dx[n,j] = dy[n,j] - p[n,j] * sum(k, dy[n,k])\n"
            "where p[n,j] = exp(x[n,j]) / sum(k, exp(x[n,k]))"
        ),
    }
    symbols = {"j": "dim"}  # the axis that this index runs along
    examples = EXAMPLES

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Array) -> tuple[Array, SoftmaxCache]:  # type: ignore[override]
        """Return z - log Σ e^z with z = x - m, m the largest element: no exponent is above 0."""
        z = x - x.max(axis=self.dim, keepdims=True)
        z -= np.log(np.exp(z).sum(axis=self.dim, keepdims=True))
        return z, SoftmaxCache(z)

    def backward(self, grad_output: Array, cache: SoftmaxCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_i = x_i - log Σ_k e^(x_k), along one axis.

        ∂y_i/∂x_j = [i = j] - e^(x_j) / Σ_k e^(x_k) = [i = j] - e^(y_j)
        dx_j = dy_j - e^(y_j) Σ_i dy_i   ->   dx = dy - e^y · Σ dy, the sum along the axis
        Torch: nn.LogSoftmax.
        Source: the derivative of softmax, above, divided by y_i.
        """
        total = grad_output.sum(axis=self.dim, keepdims=True)
        return (grad_output - np.exp(cache.y) * total,), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
