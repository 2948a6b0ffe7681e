"""Sigmoid, Tanh, Softsign: curves that level off; and LogSigmoid, the logarithm of one."""

from __future__ import annotations

from typing import NamedTuple

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
from manual.layer import Array, Arrays, Layer

__all__ = ["LogSigmoid", "Sigmoid", "Softsign", "Tanh"]


class Sigmoid(Layer):
    """Logistic function: σ(x) = 1 / (1 + e⁻ˣ)."""

    equations = {
        "output": "y[i] = 1 / (1 + exp(-x[i]))",
        "grad_input": "dx[i] = dy[i] * y[i] * (1 - y[i])\nwhere y[i] = 1 / (1 + exp(-x[i]))",
    }
    examples = (Example({}, WIDE, kinks=ZERO),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = sigmoid(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = σ(x), all shapes equal.

        σ = (1 + e⁻ˣ)⁻¹
        σ' = e⁻ˣ (1 + e⁻ˣ)⁻² = σ (1 - σ)   ->   dx = dy · y (1 - y)
        Torch: nn.Sigmoid, which also works from y alone.
        Source: Nielsen, Neural Networks and Deep Learning, ch. 1 and 2.
        """
        dx = grad_output * cache.y
        dx *= 1 - cache.y
        return (dx,), {}


class Tanh(Layer):
    """Hyperbolic tangent: tanh(x) = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)."""

    equations = {
        "output": "y[i] = tanh(x[i])",
        "grad_input": "dx[i] = dy[i] * (1 - y[i]**2)\nwhere y[i] = tanh(x[i])",
    }
    examples = (Example({}, WIDE),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.tanh(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = tanh(x), all shapes equal.

        tanh = sinh / cosh
        tanh' = (cosh² - sinh²) / cosh² = 1 - tanh²   ->   dx = dy · (1 - y²)
        Torch: nn.Tanh, which also works from y alone.
        Source: LeCun et al., Efficient BackProp (1998), section 4.4.
        """
        return (grad_output * (1 - cache.y * cache.y),), {}


class LogSigmoid(Layer):
    """Logarithm of the logistic function: log σ(x) = -log(1 + e⁻ˣ)."""

    equations = {
        "output": "y[i] = log(1 / (1 + exp(-x[i])))",
        "grad_input": "dx[i] = dy[i] * sigma(-x[i])",
    }
    examples = (Example({}, WIDE, kinks=ZERO),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        """Return min(x, 0) - log(1 + e^-|x|), equal to log σ(x) for either sign of x."""
        positive, e = exp_minus_abs(x)
        return x * ~positive - np.log1p(e), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = log σ(x), all shapes equal.

        y' = σ' / σ = 1 - σ(x) = σ(-x)   ->   dx = dy · σ(-x)      (1 - σ would cancel)
        Torch: nn.LogSigmoid.
        Source: the derivative of σ, above.
        """
        return (grad_output * sigmoid(-cache.x),), {}


class SoftsignCache(NamedTuple):
    y: Array
    bottom: Array


class Softsign(Layer):
    """Sign that is reached slowly: x / (1 + |x|)."""

    equations = {
        "output": "y[i] = x[i] / (1 + abs(x[i]))",
        "grad_input": "dx[i] = dy[i] / (1 + abs(x[i]))**2",
    }
    examples = (Example({}, WIDE, kinks=ZERO),)

    def forward(self, x: Array) -> tuple[Array, SoftsignCache]:  # type: ignore[override]
        bottom = 1 + np.maximum(x, -x)  # np.abs would lose a complex number's direction
        y = x / bottom
        return y, SoftsignCache(y, bottom)

    def backward(self, grad_output: Array, cache: SoftsignCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x / d with d = 1 + |x|, all shapes equal.

        y' = 1 / d - x sign(x) / d² = 1 / d - |y| / d = 1 / d²   ->   dx = dy / d - dy |y| / d
        At 0 both sides have the slope 1: no kink.
        Torch: nn.Softsign. Like torch, and for the same digits, this subtracts numbers that are
            nearly equal where |x| is large, where dy / d² would be more exact.
        Source: Glorot, Bengio, Understanding the Difficulty of Training Deep Feedforward Neural
            Networks (2010).
        """
        y, bottom = cache
        return (grad_output / bottom - grad_output * (np.maximum(y, -y) / bottom),), {}
