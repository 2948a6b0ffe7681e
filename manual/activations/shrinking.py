"""What pulls small numbers to zero or replaces them: shrinkage, soft and hard, and Threshold."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import WIDE, InputCache, OutputCache
from manual.examples import Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays, Layer

__all__ = ["Hardshrink", "Softshrink", "Tanhshrink", "Threshold"]

HALF = {"x = λ": {"x": 0.5}, "x = -λ": {"x": -0.5}}
TWO = {"x = λ": {"x": 2.0}, "x = -λ": {"x": -2.0}}
OUTSIDE = "(1 - (x[i] <= L) * (x[i] >= -L))"


class Hardshrink(Layer):
    """Keep what is larger than lambd in size, zero the rest.

    Args:
        lambd: λ, the border; below 0 everything is kept, as in torch.
    """

    equations = {
        "output": f"y[i] = x[i] * {OUTSIDE}",
        "grad_input": f"dx[i] = dy[i] * {OUTSIDE}",
    }
    symbols = {"L": "lambd"}
    examples = (
        Example({}, WIDE, kinks=HALF, exact=True),
        Example({"lambd": 2.0}, WIDE, kinks=TWO, exact=True),
    )

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        cache = InputCache(x)
        return x * self.decisions(cache), cache

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x · [|x| > λ], all shapes equal.

        y' = [|x| > λ]   ->   dx = dy · [|x| > λ]
        Torch: nn.Hardshrink: 0 at the two steps |x| = λ.
        Source: Donoho, Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage (1994).
        """
        return (grad_output * self.decisions(cache),), {}

    def decisions(self, cache: InputCache) -> Array:
        return (cache.x > self.lambd) | (cache.x < -self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Layer):
    """Move each number towards zero by lambd, no further than zero.

    Args:
        lambd: λ, how far; not below 0.

    Raises:
        ValueError: lambd is negative.
    """

    equations = {
        "output": "y[i] = max(x[i] - L, 0) + min(x[i] + L, 0)",
        "grad_input": f"dx[i] = dy[i] * {OUTSIDE}",
    }
    symbols = {"L": "lambd"}
    examples = (
        Example({}, WIDE, kinks=HALF, exact=True),
        Example({"lambd": 2.0}, WIDE, kinks=TWO, exact=True),
    )

    def __init__(self, lambd: float = 0.5) -> None:
        if not lambd >= 0:
            raise ValueError(f"Softshrink: lambd must not be negative, received {lambd}.")
        self.lambd = lambd

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        y = np.maximum(x - self.lambd, 0)
        y += np.minimum(x + self.lambd, 0)
        return y, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x - λ, 0, or x + λ; all shapes equal.

        y' = [|x| > λ]   ->   dx = dy · [|x| > λ]
        Torch: nn.Softshrink: 0 at both kinks |x| = λ.
        Source: Donoho, De-noising by Soft-Thresholding (1995).
        """
        return (grad_output * self.decisions(cache),), {}

    def decisions(self, cache: InputCache) -> Array:
        return (cache.x > self.lambd) | (cache.x < -self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Tanhshrink(Layer):
    """What tanh takes away: x - tanh(x)."""

    equations = {
        "output": "y[i] = x[i] - tanh(x[i])",
        "grad_input": "dx[i] = dy[i] * tanh(x[i])**2",
    }
    examples = (Example({}, WIDE),)

    def forward(self, x: Array) -> tuple[Array, OutputCache]:  # type: ignore[override]
        y = np.tanh(x)
        return x - y, OutputCache(y)

    def backward(self, grad_output: Array, cache: OutputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x - tanh(x), all shapes equal.

        y' = 1 - tanh' = 1 - (1 - tanh²) = tanh²   ->   dx = dy - dy (1 - tanh²)
        Torch: nn.Tanhshrink. Like torch, and for the same digits, both passes subtract numbers
            that are nearly equal near 0, where x³/3 and dy · tanh² would be more exact.
        Source: the derivative of tanh.
        """
        return (grad_output - grad_output * (1 - cache.y * cache.y),), {}


class Threshold(InPlace):
    """Keep what is above a threshold, replace the rest by a fixed value.

    Args:
        threshold: t.
        value: v, what stands where x <= t.
        inplace: False; see `InPlace`.
    """

    equations = {
        "output": "y[i] = cases(x[i] > t, x[i], v)",
        "grad_input": "dx[i] = dy[i] * (x[i] > t)",
    }
    symbols = {"t": "threshold", "v": "value"}
    examples = (
        Example({"threshold": 0.5, "value": -2.0}, WIDE, kinks={"x = t": {"x": 0.5}}, exact=True),
        Example({"threshold": -1.0, "value": 3.0}, WIDE, kinks={"x = t": {"x": -1.0}}, exact=True),
    )

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.where(x > self.threshold, x, self.value), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x where x > t, else v; all shapes equal.

        y' = [x > t]   ->   dx = dy · [x > t]      (v is a constant)
        Torch: nn.Threshold: 0 at the step x = t.
        Source: of a learned t, Konda, Memisevic, Krueger, Zero-bias Autoencoders (2015).
        """
        return (grad_output * self.decisions(cache),), {}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > self.threshold

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"
