"""Straight pieces between two bounds: Hardtanh, ReLU6, Hardsigmoid, Hardswish."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import WIDE, InputCache
from manual.examples import Draw, Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays

__all__ = ["Hardsigmoid", "Hardswish", "Hardtanh", "ReLU6"]

WIDER = (Draw((3, 4), high=4),)
AT_3 = {"x = -3": {"x": -3.0}, "x = 3": {"x": 3.0}}


class Clipped(InPlace):
    """The identity between two bounds, and the nearer bound beyond them."""

    equations = {
        "output": "y[i] = min(max(x[i], a), b)",
        "grad_input": "dx[i] = dy[i] * (x[i] > a) * (x[i] < b)",
    }
    symbols = {"a": "min_val", "b": "max_val"}

    min_val: float
    max_val: float

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.minimum(np.maximum(x, self.min_val), self.max_val), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = min(max(x, a), b), all shapes equal.

        y' = [a < x < b]   ->   dx = dy · [a < x < b]
        Torch: nn.Hardtanh and nn.ReLU6 take 0 at both kinks; torch.clamp, the same function, 1.
        Source: Collobert, Large Scale Machine Learning (2004), for a = -1, b = 1; of ReLU6
            Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10 (2010).
        """
        return (grad_output * self.decisions(cache),), {}

    def decisions(self, cache: InputCache) -> Array:
        return (cache.x > self.min_val) & (cache.x < self.max_val)


class Hardtanh(Clipped):
    """Identity between two bounds, flat beyond them: min(max(x, min_val), max_val).

    Args:
        min_val, max_val: a and b, the bounds.
        inplace: False; see `InPlace`.

    Raises:
        ValueError: max_val is not above min_val.
    """

    examples = (
        Example({}, WIDE, kinks={"x = -1": {"x": -1.0}, "x = 1": {"x": 1.0}}, exact=True),
        Example(
            {"min_val": -0.5, "max_val": 2.0},
            WIDE,
            kinks={"x = a": {"x": -0.5}, "x = b": {"x": 2.0}},
            exact=True,
        ),
    )

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        if not max_val > min_val:
            raise ValueError(
                f"Hardtanh: max_val must be above min_val, received min_val = {min_val} and "
                f"max_val = {max_val}."
            )
        self.min_val, self.max_val = min_val, max_val

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Clipped):
    """Rectifier that levels off at 6: min(max(x, 0), 6)."""

    examples = (Example({}, WIDER, kinks={"x = 0": {"x": 0.0}, "x = 6": {"x": 6.0}}, exact=True),)
    min_val, max_val = 0.0, 6.0


class Hardsigmoid(InPlace):
    """Sigmoid of three straight pieces: min(max(x + 3, 0), 6) / 6."""

    equations = {
        "output": "y[i] = min(max(x[i] + 3, 0), 6) / 6",
        "grad_input": "dx[i] = dy[i] / 6 * (x[i] > -3) * (x[i] < 3)",
    }
    examples = (Example({}, WIDER, kinks=AT_3),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.minimum(np.maximum(x + 3, 0), 6) / 6, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = (x + 3) / 6 between 0 and 1, all shapes equal.

        y' = 1/6 where -3 < x < 3, else 0   ->   dx = dy / 6 where -3 < x < 3, else 0
        Torch: nn.Hardsigmoid, 0 at both kinks; in float64 its gradient multiplies by float32's
            1/6, 3e-8 too large, and torch_ref has the formula in torch operations instead.
        Source: Courbariaux, Bengio, David, BinaryConnect (2015), of slope 1/2; this slope Howard
            et al., Searching for MobileNetV3 (2019), section 5.2.
        """
        return (grad_output / 6 * self.decisions(cache),), {}

    def decisions(self, cache: InputCache) -> Array:
        return (cache.x > -3) & (cache.x < 3)


class Hardswish(InPlace):
    """SiLU with the sigmoid of straight pieces: x · min(max(x + 3, 0), 6) / 6."""

    equations = {
        "output": "y[i] = x[i] * min(max(x[i] + 3, 0), 6) / 6",
        "grad_input": "dx[i] = cases(x[i] < 3, dy[i] * (x[i] > -3) * (x[i] / 3 + 1 / 2), dy[i])",
    }
    examples = (Example({}, WIDER, kinks=AT_3),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return x * np.minimum(np.maximum(x + 3, 0), 6) / 6, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = 0, x (x + 3) / 6, or x; all shapes equal.

        y' = 0 where x <= -3;   (2 x + 3) / 6 = x / 3 + 1/2 where -3 < x < 3;   1 where x >= 3
        ->   dx = dy y'
        Torch: nn.Hardswish: of the slopes at a kink, that of the outer piece: 0 at -3, 1 at 3.
        Source: Howard et al., Searching for MobileNetV3 (2019), section 5.2.
        """
        piece = self.decisions(cache)
        slope = (cache.x / 3 + 0.5) * (piece == 1)
        slope += piece == 2
        return (grad_output * slope,), {}

    def decisions(self, cache: InputCache) -> Array:
        """Return 0, 1 or 2: left, between the kinks, right."""
        return 1 * (cache.x > -3) + (cache.x >= 3)
