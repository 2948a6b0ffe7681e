"""Gates of two inputs, element by element: add, subtract, multiply, divide, max.

Inputs broadcast as NumPy's do; every gradient is summed back to its input's shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["AddGate", "DivideGate", "MaxGate", "MultiplyGate", "SubtractGate"]

SHAPES = ((3, 4), (3, 4)), ((3, 4), (4,))
EXAMPLES = tuple(Example({}, shapes) for shapes in SHAPES)
Pair = tuple[Array, Array]


class ShapesCache(NamedTuple):
    x: tuple[int, ...]
    y: tuple[int, ...]


class PairCache(NamedTuple):
    x: Array
    y: Array


class Scaled(Layer):
    """A sum of x and a multiple of y.

    Args:
        alpha: the factor of y.
    """

    symbols = {"dz": "grad_output"}
    examples = (*EXAMPLES, Example({"alpha": -0.5}, ((2, 3), (2, 3))))

    def __init__(self, alpha: float = 1) -> None:
        self.alpha = alpha

    def scaled(self, y: Array) -> Array:
        return y if self.alpha == 1 else self.alpha * y

    def extra_repr(self) -> str:
        return "" if self.alpha == 1 else f"alpha={self.alpha}"


class AddGate(Scaled):
    """z = x + y, or x + αy; its backward distributes the gradient."""

    equations = {
        "output": "z[i] = x[i] + alpha * y[i]",
        "grad_x": "dx[i] = dz[i]",
        "grad_y": "dy[i] = alpha * dz[i]",
    }

    def forward(self, x: Array, y: Array) -> tuple[Array, ShapesCache]:  # type: ignore[override]
        return x + self.scaled(y), ShapesCache(np.shape(x), np.shape(y))

    def backward(self, grad_output: Array, cache: ShapesCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through z = x + αy, α = 1 unless given.

        ∂z/∂x = 1,  ∂z/∂y = α   ->   dx = dz,  dy = α dz     (each summed to its input's shape)
        Torch: torch.add.
        Source: CS231n lecture 4: the add gate distributes.
        """
        dz = grad_output
        return (summed_to(dz, cache.x), summed_to(self.scaled(dz), cache.y)), {}


class SubtractGate(Scaled):
    """z = x - y, or x - αy; its backward distributes the gradient, negated to the second input."""

    equations = {
        "output": "z[i] = x[i] - alpha * y[i]",
        "grad_x": "dx[i] = dz[i]",
        "grad_y": "dy[i] = -alpha * dz[i]",
    }

    def forward(self, x: Array, y: Array) -> tuple[Array, ShapesCache]:  # type: ignore[override]
        return x - self.scaled(y), ShapesCache(np.shape(x), np.shape(y))

    def backward(self, grad_output: Array, cache: ShapesCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through z = x - αy, α = 1 unless given.

        ∂z/∂x = 1,  ∂z/∂y = -α   ->   dx = dz,  dy = -α dz
        Torch: torch.sub.
        Source: the add gate, with a negated input.
        """
        dz = grad_output
        return (summed_to(dz, cache.x), summed_to(-self.scaled(dz), cache.y)), {}


class MultiplyGate(Layer):
    """z = x · y, element by element; its backward switches the inputs."""

    equations = {
        "output": "z[i] = x[i] * y[i]",
        "grad_x": "dx[i] = dz[i] * y[i]",
        "grad_y": "dy[i] = dz[i] * x[i]",
    }
    symbols = {"dz": "grad_output"}
    examples = EXAMPLES

    def forward(self, x: Array, y: Array) -> tuple[Array, PairCache]:  # type: ignore[override]
        return x * y, PairCache(x, y)

    def backward(self, grad_output: Array, cache: PairCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through z = x y.

        ∂z/∂x = y,  ∂z/∂y = x   ->   dx = dz · y,  dy = dz · x
        Torch: torch.mul.
        Source: CS231n lecture 4: `MultiplyGate` keeps its inputs; the mul gate switches.
        """
        (x, y), dz = cache, grad_output
        return (summed_to(dz * y, np.shape(x)), summed_to(dz * x, np.shape(y))), {}


class DivideGate(Layer):
    """z = x / y, element by element."""

    equations = {
        "output": "z[i] = x[i] / y[i]",
        "grad_x": "dx[i] = dz[i] / y[i]",
        "grad_y": "dy[i] = -dz[i] * x[i] / y[i]**2",
    }
    symbols = {"dz": "grad_output"}
    examples = tuple(
        Example({}, (shape, Draw(other, "uniform", 0.5, 2))) for shape, other in SHAPES
    )

    def forward(self, x: Array, y: Array) -> tuple[Array, PairCache]:  # type: ignore[override]
        return x / y, PairCache(x, y)

    def backward(self, grad_output: Array, cache: PairCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through z = x / y.

        ∂z/∂x = 1/y,  ∂z/∂y = -x/y²   ->   dx = dz / y,  dy = -(dz / y) (x / y)
        Torch: torch.div.
        Source: the quotient rule; y² is not formed, for it overflows first.
        """
        (x, y), dz = cache, grad_output
        dx = dz / y
        return (summed_to(dx, np.shape(x)), summed_to(-dx * (x / y), np.shape(y))), {}


class MaxGate(Layer):
    """z = max(x, y), element by element; its backward routes the gradient to the larger."""

    equations = {
        "output": "z[i] = max(x[i], y[i])",
        "grad_x": "dx[i] = dz[i] * ((x[i] > y[i]) + (x[i] >= y[i])) / 2",
        "grad_y": "dy[i] = dz[i] * ((y[i] > x[i]) + (y[i] >= x[i])) / 2",
    }
    symbols = {"dz": "grad_output"}
    examples = tuple(
        Example({}, shapes, kinks={"x = y": {"x": np.array([-3.0, 1.0, 1.0, 2.0]), "y": 1.0}})
        for shapes in SHAPES
    )

    def forward(self, x: Array, y: Array) -> tuple[Array, PairCache]:  # type: ignore[override]
        return np.maximum(x, y), PairCache(x, y)

    def backward(self, grad_output: Array, cache: PairCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through z = max(x, y).

        ∂z/∂x = [x > y],  ∂z/∂y = [y > x]   ->   dx = dz · [x > y],  dy = dz · [y > x]
        At x = y there is a kink, where any split of dz fits; each input gets half.
        Torch: torch.maximum, which halves as well (the maximum of a whole row does not), and gives
        both all of it at a nan.
        Source: CS231n lecture 4: the max gate routes.
        """
        (x, y), dz = cache, grad_output
        share = np.where(x == y, 0.5 * dz, dz)
        dx, dy = np.where(x < y, 0, share), np.where(y < x, 0, share)
        return (summed_to(dx, np.shape(x)), summed_to(dy, np.shape(y))), {}

    def decisions(self, cache: PairCache) -> Array:
        """Return 1 where x is larger, -1 where y is, 0 at a tie."""
        return np.sign(cache.x - cache.y)
