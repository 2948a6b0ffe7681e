"""ELU and its relatives, which follow an exponential on the left: CELU, SELU."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import WIDE, ZERO, InputCache, blend, left
from manual.examples import Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays

__all__ = ["CELU", "ELU", "SELU"]


class ELU(InPlace):
    """Exponential linear unit: x if x > 0, else alpha · (eˣ - 1).

    Args:
        alpha: α, so that y tends to -α on the far left.
        inplace: False; see `InPlace`.
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

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        """Return max(x, 0) + α (e^min(x, 0) - 1), of which one term is zero."""
        y = self.alpha * np.expm1(left(x))
        y += np.maximum(x, 0)
        return y, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through both pieces, all shapes equal.

        y' = 1 where x > 0, else α eˣ   ->   dx = dy where x > 0, else dy α eˣ
        Torch: nn.ELU; x = 0 takes α, which is a kink unless α = 1.
        Source: Clevert, Unterthiner, Hochreiter, Fast and Accurate Deep Network Learning by
            Exponential Linear Units (2016), equation 15.
        """
        dx = grad_output * np.exp(left(cache.x))
        dx *= self.alpha
        return (blend(cache.x > 0, grad_output, dx),), {}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > 0

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class CELU(InPlace):
    """ELU with slope 1 at zero for every alpha: x if x > 0, else alpha · (e^(x / alpha) - 1).

    Args:
        alpha: α, so that y tends to -α on the far left; not 0.
        inplace: False; see `InPlace`.

    Raises:
        ValueError: alpha is 0.
    """

    equations = {
        "output": "y[i] = cases(x[i] > 0, x[i], alpha * (exp(x[i] / alpha) - 1))",
        "grad_input": "dx[i] = cases(x[i] > 0, dy[i], dy[i] * exp(x[i] / alpha))",
    }
    examples = (Example({}, WIDE, kinks=ZERO), Example({"alpha": 2.5}, WIDE, kinks=ZERO))

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        if alpha == 0:
            raise ValueError("CELU: alpha divides x and must not be 0, received 0.")
        self.alpha = alpha

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        """Return max(x, 0) + α (e^(min(x, 0) / α) - 1), of which one term is zero."""
        y = self.alpha * np.expm1(left(x) / self.alpha)
        y += np.maximum(x, 0)
        return y, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through both pieces, all shapes equal.

        y' = 1 where x > 0, else α e^(x/α) / α = e^(x/α)   ->   dx = dy e^(min(x, 0) / α)
        No kink: both pieces have the slope 1 at 0.
        Torch: nn.CELU; in float64 its gradient rounds α to float32, 1e-7 wrong for α = 0.3, and
            torch_ref has the same in another torch operation instead.
        Source: Barron, Continuously Differentiable Exponential Linear Units (2017).
        """
        return (grad_output * np.exp(left(cache.x) / self.alpha),), {}

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(InPlace):
    """ELU scaled so that activations keep mean 0 and variance 1: scale · ELU(x; alpha)."""

    equations = {
        "output": "y[i] = s * cases(x[i] > 0, x[i], alpha * (exp(x[i]) - 1))",
        "grad_input": "dx[i] = dy[i] * s * cases(x[i] > 0, 1, alpha * exp(x[i]))",
    }
    symbols = {"s": "scale"}
    examples = (Example({}, WIDE, kinks=ZERO),)
    alpha = 1.6732632423543772848170429916717  # the fixed point of mean 0 and variance 1
    scale = 1.0507009873554804934193349852946

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        """Return λ (max(x, 0) + α (e^min(x, 0) - 1)), of which one term is zero."""
        y = self.alpha * np.expm1(left(x))
        y += np.maximum(x, 0)
        y *= self.scale
        return y, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through both pieces, all shapes equal, with the scale λ.

        y' = λ where x > 0, else λ α eˣ   ->   dx = λ dy where x > 0, else λ α dy eˣ
        Torch: nn.SELU, the same two constants; the kink x = 0 takes λ α = 1.758.
        Source: Klambauer et al., Self-Normalizing Neural Networks (2017), which derives them.
        """
        slope = self.alpha * np.exp(left(cache.x))
        dx = blend(self.decisions(cache), grad_output, grad_output * slope)
        dx *= self.scale
        return (dx,), {}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > 0
