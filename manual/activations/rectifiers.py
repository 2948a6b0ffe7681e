"""ReLU and its relatives: identity on the right, something flatter on the left."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import (
    WIDE,
    ZERO,
    InputCache,
    OutputCache,
    blend,
    exp_minus_abs,
    sigmoid,
)
from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["ELU", "LeakyReLU", "ReLU", "Softplus"]


class ReLU(Layer):
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


class LeakyReLU(Layer):
    """Rectifier with a leak: x if x > 0, else negative_slope · x.

    Args:
        negative_slope: s, the slope on the left; any number, 0.01 by default.
    """

    equations = {
        "output": "y[i] = cases(x[i] > 0, x[i], s * x[i])",
        "grad_input": "dx[i] = cases(x[i] > 0, dy[i], s * dy[i])",
    }
    symbols = {"s": "negative_slope"}
    examples = (
        Example({}, WIDE, kinks=ZERO),
        Example({"negative_slope": 0.25}, WIDE, kinks=ZERO, exact=True),
        *(Example({"negative_slope": s}, WIDE, kinks=ZERO) for s in (0.3, 1.75, -0.5)),
    )

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        pick = np.maximum if self.negative_slope <= 1 else np.minimum
        return pick(x, self.negative_slope * x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max(x, s x) for s <= 1, min(x, s x) for s > 1; shapes equal.

        y' = 1 where x > 0, else s   ->   dx = dy where x > 0, else s dy
        Torch: nn.LeakyReLU; the kink x = 0 takes the slope s.
        Source: Maas, Hannun, Ng, Rectifier Nonlinearities Improve Acoustic Models (2013).
        """
        return (blend(cache.x > 0, grad_output, self.negative_slope * grad_output),), {}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > 0

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Layer):
    """Exponential linear unit: x if x > 0, else alpha · (eˣ - 1).

    Args:
        alpha: α, so that y tends to -α on the far left.
    """

    equations = {
        "output": "y[i] = cases(x[i] > 0, x[i], alpha * (exp(x[i]) - 1))",
        "grad_input": "dx[i] = cases(x[i] > 0, dy[i], dy[i] * alpha * exp(x[i]))",
    }
    examples = (
        Example({}, WIDE, kinks=ZERO),
        Example({"alpha": 1.5}, WIDE, kinks=ZERO),
        Example({"alpha": 2.5}, WIDE, kinks=ZERO),
    )

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        """Return max(x, 0) + α (e^min(x, 0) - 1), of which one term is zero."""
        y = self.alpha * np.expm1(x * (x <= 0))
        y += np.maximum(x, 0)
        return y, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through both pieces, all shapes equal.

        y' = 1 where x > 0, else α eˣ   ->   dx = dy where x > 0, else dy α eˣ
        Torch: nn.ELU; x = 0 takes α, which is a kink unless α = 1.
        Source: Clevert, Unterthiner, Hochreiter, Fast and Accurate Deep Network Learning by
            Exponential Linear Units (2016), equation 15.
        """
        left = grad_output * np.exp(cache.x * (cache.x <= 0))
        left *= self.alpha
        return (blend(cache.x > 0, grad_output, left),), {}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > 0

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


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
