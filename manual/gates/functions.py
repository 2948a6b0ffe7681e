"""Gates of one input, element by element: negate, reciprocal, abs, exp, log, sin, cos, σ, tanh."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import ZERO, InputCache, OutputCache, sigmoid
from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer
from manual.linear import NoCache

__all__ = [
    "AbsGate",
    "CosGate",
    "ExpGate",
    "LogGate",
    "NegateGate",
    "ReciprocalGate",
    "SigmoidGate",
    "SinGate",
    "TanhGate",
]

POSITIVE = Draw((3, 4), "uniform", 0.25, 3)


class NegateGate(Layer):
    """y = -x, the gate ·(-1)."""

    equations = {"output": "y[i] = -x[i]", "grad_input": "dx[i] = -dy[i]"}
    examples = (Example(),)

    def forward(self, x: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        return -x, NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = -x.

        ∂y/∂x = -1   ->   dx = -dy
        Torch: torch.neg.
        Source: CS231n lecture 4, worked example 2: the gate ·(-1).
        """
        return (-grad_output,), {}


class ReciprocalGate(Layer):
    """y = 1 / x."""

    equations = {"output": "y[i] = 1 / x[i]", "grad_input": "dx[i] = -dy[i] / x[i]**2"}
    examples = (Example({}, (POSITIVE,)),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = 1 / x
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = 1/x, all shapes equal.

        ∂y/∂x = -1/x² = -y²   ->   dx = -dy · y²
        Torch: torch.reciprocal, which also works from y alone.
        Source: CS231n lecture 4, worked example 2: the gate 1/x.
        """
        y = cache.y
        return (-grad_output * (y * y),), {}


class ExpGate(Layer):
    """y = eˣ."""

    equations = {"output": "y[i] = exp(x[i])", "grad_input": "dx[i] = dy[i] * exp(x[i])"}
    examples = (Example(),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.exp(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = eˣ, all shapes equal.

        ∂y/∂x = eˣ = y   ->   dx = dy · y
        Torch: torch.exp, which also works from y alone.
        Source: CS231n lecture 4, worked example 2: the gate exp.
        """
        return (grad_output * cache.y,), {}


class LogGate(Layer):
    """y = log x, to the base e."""

    equations = {"output": "y[i] = log(x[i])", "grad_input": "dx[i] = dy[i] / x[i]"}
    examples = (Example({}, (POSITIVE,)),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.log(x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = log x, all shapes equal.

        ∂y/∂x = 1/x   ->   dx = dy / x
        Torch: torch.log.
        Source: the inverse of eˣ.
        """
        return (grad_output / cache.x,), {}


class SigmoidGate(Layer):
    """y = σ(x) = 1 / (1 + e⁻ˣ): four gates of the worked example in one."""

    equations = {
        "output": "y[i] = 1 / (1 + exp(-x[i]))",
        "grad_input": "dx[i] = dy[i] * y[i] * (1 - y[i])\nwhere y[i] = 1 / (1 + exp(-x[i]))",
    }
    examples = (Example(kinks=ZERO),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = sigmoid(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = σ(x), all shapes equal.

        The gates ·(-1), exp, +1, 1/x one after the other give (-1) · e⁻ˣ · 1 · (-y²), and
        e⁻ˣ y² = ((1 + e⁻ˣ) - 1) y² = y - y²
        ∂y/∂x = (1 - y) y   ->   dx = dy · (1 - y) y
        Torch: torch.sigmoid, which also works from y alone.
        Source: CS231n lecture 4, worked example 2: the sigmoid gate.
        """
        y = cache.y
        return (grad_output * ((1 - y) * y),), {}


class TanhGate(Layer):
    """y = tanh x."""

    equations = {
        "output": "y[i] = tanh(x[i])",
        "grad_input": "dx[i] = dy[i] * (1 - y[i]**2)\nwhere y[i] = tanh(x[i])",
    }
    examples = (Example(),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.tanh(x)
        return y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = tanh x, all shapes equal.

        ∂y/∂x = 1 - y²   ->   dx = dy · (1 - y²)
        Torch: torch.tanh, which also works from y alone.
        Source: tanh = sinh / cosh, and cosh² - sinh² = 1.
        """
        y = cache.y
        return (grad_output * (1 - y * y),), {}


class AbsGate(Layer):
    """y = |x|."""

    equations = {"output": "y[i] = abs(x[i])", "grad_input": "dx[i] = dy[i] * sign(x[i])"}
    examples = (Example(kinks=ZERO, exact=True),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.abs(x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = |x|, all shapes equal.

        ∂y/∂x = sign x, and 0 at the kink x = 0   ->   dx = dy · sign x
        Torch: torch.abs, with the same 0 at the kink.
        Source: |x| = max(x, -x).
        """
        return (grad_output * sign(cache.x),), {}

    def decisions(self, cache: InputCache) -> Array:
        return sign(cache.x)


def sign(x: Array) -> Array:
    """Return 1, 0 or -1; 0 of nan, as torch has it."""
    return np.sign(np.where(x == x, x, 0))


class SinGate(Layer):
    """y = sin x."""

    equations = {"output": "y[i] = sin(x[i])", "grad_input": "dx[i] = dy[i] * cos(x[i])"}
    examples = (Example(),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.sin(x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = sin x, all shapes equal.

        ∂y/∂x = cos x   ->   dx = dy · cos x
        Torch: torch.sin.
        Source: sin(x + h) = sin x cos h + cos x sin h, and sin h / h -> 1.
        """
        return (grad_output * np.cos(cache.x),), {}


class CosGate(Layer):
    """y = cos x."""

    equations = {"output": "y[i] = cos(x[i])", "grad_input": "dx[i] = -dy[i] * sin(x[i])"}
    examples = (Example(),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.cos(x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = cos x, all shapes equal.

        ∂y/∂x = -sin x   ->   dx = -dy · sin x
        Torch: torch.cos.
        Source: cos x = sin(x + π/2).
        """
        return (-grad_output * np.sin(cache.x),), {}
