"""Gates of one input, element by element: each class says its value and its slope."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from manual.examples import Draw
from manual.layer import Array, Arrays, Layer

POSITIVE = Draw((2, 3), "uniform", 0.25, 3)
INSIDE = Draw((2, 3), "uniform", -0.9, 0.9)
ABOVE = Draw((2, 3), "uniform", 1.25, 3)


class PointCache(NamedTuple):
    x: Array
    y: Array


class Pointwise(Layer):
    """A function of one number, of every element by itself."""

    @abstractmethod
    def value(self, x: Array) -> Array:
        """Return f(x)."""

    @abstractmethod
    def slope(self, x: Array, y: Array) -> Array:
        """Return f'(x), where y = f(x)."""

    def forward(self, x: Array) -> tuple[Array, PointCache]:  # type: ignore[override]
        y = self.value(x)
        return y, PointCache(x, y)

    def backward(self, grad_output: Array, cache: PointCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_i = f(x_i), all shapes equal.

        ∂y_i/∂x_j = [i = j] f'(x_i), a diagonal   ->   dx = dy · f'(x)
        f' is in the equation; where a root or a pole makes it infinite, so is torch's.
        Torch: the function of this name.
        Source: any table of derivatives.
        """
        return (grad_output * self.slope(*cache),), {}


def equations(value: str, slope: str) -> dict[str, str]:
    """Return the equations of y = f(x), of f and f' (which is given as what dy is times)."""
    return {"output": f"y[i] = {value}", "grad_input": f"dx[i] = dy[i] * {slope}"}
