"""ReLU, and the smooth rectifier Softplus."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import (
    WIDE,
    ZERO,
    InputCache,
    OutputCache,
    exp_minus_abs,
    sigmoid,
)
from manual.examples import Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays, Layer

__all__ = ["ReLU", "Softplus"]


class ReLU(InPlace):
    """Rectifier: max(x, 0)."""

    equations = {"output": "y[i] = max(x[i], 0)", "grad_input": "dx[i] = dy[i] * (x[i] > 0)"}
    examples = (Example({}, WIDE, kinks=ZERO, exact=True),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.maximum(x, 0)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max(x, 0), all shapes equal.

        y' = [x > 0]   ->   dx = dy · [y > 0]      (y > 0 exactly where x > 0)
        Torch: nn.ReLU; of the slopes 0 … 1 that fit the kink x = 0, both take 0.
        Source: Glorot, Bordes, Bengio, Deep Sparse Rectifier Neural Networks (2011).
        """
        return (grad_output * (cache.y > 0),), {}

    def decisions(self, cache: OutputCache) -> Array:
        return cache.y > 0


class Softplus(Layer):
    """Smooth rectifier: log(1 + e^(beta x)) / beta, and x itself beyond the threshold.

    Args:
        beta: β, the sharpness: the larger, the closer to ReLU.
        threshold: where βx exceeds it, y = x; torch's way around overflow.
    """

    equations = {
        "output": ("y[i] = cases(beta * x[i] > threshold, x[i], log(1 + exp(beta * x[i])) / beta)"),
        "grad_input": ("dx[i] = cases(beta * x[i] > threshold, dy[i], dy[i] * sigma(beta * x[i]))"),
    }
    examples = (
        Example({}, WIDE, kinks=ZERO | {"βx = threshold": {"x": 20.0}}),
        Example({"beta": 2.0}, WIDE, kinks=ZERO | {"βx = threshold": {"x": 10.0}}),
        Example(
            {"beta": 2.0, "threshold": 0.5}, WIDE, kinks=ZERO | {"βx = threshold": {"x": 0.25}}
        ),
        Example(
            {"beta": 0.5, "threshold": 7.0}, WIDE, kinks=ZERO | {"βx = threshold": {"x": 14.0}}
        ),
    )

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        """Return (max(z, 0) + log(1 + e^-|z|)) / β with z = βx; x where z > threshold."""
        z = self.beta * x
        positive, e = exp_minus_abs(z)
        y = np.log1p(e)
        y += z * positive
        y /= self.beta
        return np.where(z > self.threshold, x, y), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = log(1 + e^z) / β with z = βx, all shapes equal.

        y' = β e^z / (1 + e^z) / β = σ(z)   ->   dx = dy · σ(βx), or dy beyond the threshold
        Torch: nn.Softplus; the threshold is a step of log(1 + e^-20)/β = 2e-9/β by default.
        Source: Dugas et al., Incorporating Second-Order Functional Knowledge (2001).
        """
        z = self.beta * cache.x
        return (np.where(z > self.threshold, grad_output, grad_output * sigmoid(z)),), {}

    def decisions(self, cache: InputCache) -> Array:
        return self.beta * cache.x > self.threshold

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"
