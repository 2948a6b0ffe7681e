"""Gates with a number built in: a constant, + c, · c, and a power."""

from __future__ import annotations

import numpy as np

from manual.activations.pointwise import InputCache
from manual.examples import Draw, Example
from manual.gates.pointwise import POSITIVE, Pointwise, equations
from manual.layer import Array, Arrays, Layer
from manual.linear import NoCache

__all__ = [
    "AddConstantGate",
    "ConstantGate",
    "DivideConstantGate",
    "DivideIntoGate",
    "MultiplyConstantGate",
    "PowerGate",
    "SubtractFromGate",
]


class ConstantGate(Layer):
    """A number that nothing feeds, and that no gradient leaves.

    Args:
        value: c; a Python number, so that it takes part in any number system.
    """

    equations = {"output": "y = value"}
    examples = (Example({"value": 2.5}, ()),)

    def __init__(self, value: float) -> None:
        self.value = value

    def forward(self) -> tuple[float, NoCache]:
        return self.value, NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[()], Arrays]:
        """Return nothing: ∂c/∂x = 0 for every x. Torch: a tensor without requires_grad."""
        return (), {}

    def extra_repr(self) -> str:
        return f"value={self.value}"


class AddConstantGate(Layer):
    """y = x + c, such as the gate +1 of the worked sigmoid.

    Args:
        constant: c.
    """

    equations = {"output": "y[i] = x[i] + constant", "grad_input": "dx[i] = dy[i]"}
    examples = (Example({"constant": 0.75}),)

    def __init__(self, constant: float) -> None:
        self.constant = constant

    def forward(self, x: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        return x + self.constant, NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x + c.

        ∂y/∂x = 1   ->   dx = dy
        Torch: the operator + with a number.
        Source: CS231n lecture 4, worked example 2: the gate +1.
        """
        return (grad_output,), {}

    def extra_repr(self) -> str:
        return f"constant={self.constant}"


class MultiplyConstantGate(Layer):
    """y = c · x, such as the gate ·2 of the third worked example.

    Args:
        constant: c.
    """

    equations = {"output": "y[i] = constant * x[i]", "grad_input": "dx[i] = constant * dy[i]"}
    examples = (Example({"constant": -2.5}),)

    def __init__(self, constant: float) -> None:
        self.constant = constant

    def forward(self, x: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        return self.constant * x, NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = c x.

        ∂y/∂x = c   ->   dx = c dy
        Torch: the operator * with a number.
        Source: CS231n lecture 4, worked example 3: the gate ·2.
        """
        return (self.constant * grad_output,), {}

    def extra_repr(self) -> str:
        return f"constant={self.constant}"


class Constant(Pointwise):
    """A function of x and a number.

    Args:
        constant: c.
    """

    def __init__(self, constant: float) -> None:
        self.constant = constant

    def extra_repr(self) -> str:
        return f"constant={self.constant}"


class SubtractFromGate(Constant):
    """y = c - x."""

    equations = equations("constant - x[i]", "(-1)")
    examples = (Example({"constant": 0.75}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return self.constant - x

    def slope(self, x: Array, y: Array) -> Array:
        return -np.ones_like(x)


class DivideConstantGate(Constant):
    """y = x / c."""

    equations = equations("x[i] / constant", "1 / constant")
    examples = (Example({"constant": 0.75}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return x / self.constant

    def slope(self, x: Array, y: Array) -> Array:
        return np.ones_like(x) / self.constant


class DivideIntoGate(Constant):
    """y = c / x."""

    equations = equations("constant / x[i]", "-constant / x[i]**2")
    examples = (Example({"constant": 0.75}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        return self.constant / x

    def slope(self, x: Array, y: Array) -> Array:
        return -y / x


class PowerGate(Layer):
    """y = x to a constant power, element by element.

    Args:
        exponent: p; of p = 0 the slope is 0, also at x = 0.
    """

    equations = {
        "output": "y[i] = x[i]**exponent",
        "grad_input": "dx[i] = dy[i] * exponent * x[i]**(exponent - 1)",
    }
    examples = (
        *(Example({"exponent": p}) for p in (1.0, 2.0, 3.0)),
        *(Example({"exponent": p}, (Draw((3, 4), "uniform", 0.25, 3),)) for p in (0.5, -1.0)),
        Example({"exponent": 0.0}, ((2,),)),
    )

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return x**self.exponent, InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x^p, all shapes equal.

        ∂y/∂x = p x^(p-1)   ->   dx = dy · p x^(p-1)
        Torch: torch.pow with a number.
        Source: the power rule; of a square 2x, of a root ½ x^(-½).
        """
        if self.exponent == 1:
            return (grad_output,), {}
        if self.exponent == 0:  # 0 · 0⁻¹ would be nan
            return (np.zeros_like(cache.x),), {}
        p = self.exponent
        return (grad_output * (p * cache.x ** (p - 1)),), {}

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}"
