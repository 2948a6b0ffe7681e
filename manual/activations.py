"""Pointwise activations y_i = f(x_i), value and derivative side by side.

Each element of y sees one element of x, so the Jacobian is diagonal: dx_i = dy_i f'(x_i).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.graph import Array, Arrays, Layer

__all__ = ["ReLU", "Sigmoid", "Tanh"]


class OutputCache(NamedTuple):
    y: Array


class Sigmoid(Layer):
    r"""Logistic function: σ(x) = 1 / (1 + e⁻ˣ)."""

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = sigmoid(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = σ(x), all shapes equal.

        σ' = e⁻ˣ / (1 + e⁻ˣ)² = σ (1 - σ)   ->   dx = dy · y · (1 - y)
        Torch: nn.Sigmoid, which also works from y alone.
        Source: Nielsen, Neural Networks and Deep Learning, ch. 1, exercise after eq. 3.
        """
        dx = grad_output * cache.y
        dx *= 1 - cache.y
        return (dx,), {}


class Tanh(Layer):
    r"""Hyperbolic tangent: tanh(x) = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)."""

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.tanh(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = tanh(x), all shapes equal.

        tanh' = 1 - tanh² (quotient rule on sinh / cosh)   ->   dx = dy · (1 - y²)
        Torch: nn.Tanh, which also works from y alone.
        Source: LeCun et al., Efficient BackProp, section 4.4.
        """
        return (grad_output * (1 - cache.y * cache.y),), {}


class ReLU(Layer):
    r"""Rectifier: max(x, 0)."""

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.maximum(x, 0)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max(x, 0), all shapes equal.

        f' = 1 where x > 0, else 0   ->   dx = dy · [y > 0]      (y > 0 exactly where x > 0)
        Torch: nn.ReLU; the kink x = 0 has derivative 0, one of its subgradients.
        Source: Glorot, Bordes, Bengio, Deep Sparse Rectifier Neural Networks, section 3.
        """
        return (grad_output * (cache.y > 0),), {}

    def decisions(self, x: Array) -> Array:  # type: ignore[override]
        return x > 0


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e⁻ˣ), exponentiating only e^-|x| <= 1 so that nothing overflows."""
    positive = x >= 0
    e = np.exp(np.where(positive, -x, x))
    return np.where(positive, 1, e) / (1 + e)
