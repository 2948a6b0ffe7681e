"""Gates of two or three inputs, element by element: each says its value and its slopes.

Inputs broadcast as NumPy's do; every gradient is summed back to its input's shape.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from manual.activations.pointwise import sigmoid
from manual.examples import Draw, Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = [
    "Atan2Gate",
    "FmaxGate",
    "FminGate",
    "HypotGate",
    "LdexpGate",
    "LogAddExp2Gate",
    "LogAddExpGate",
    "MinGate",
    "PowGate",
    "Xlog1pyGate",
    "XlogyGate",
]

LN2 = math.log(2)
PLAIN = (Example({}, ((2, 3), (3,))), Example({}, ((2,), (2,))))
FIRST, LATER = Draw((2, 3), "uniform", 0.5, 2), Draw((3,), "uniform", 0.5, 2)
POSITIVE = (Example({}, (FIRST, LATER)), Example({}, (LATER, LATER)))
TIED = (Example({}, ((2, 3), (3,)), {"x = y": {"x": np.array([-1.0, 2.0, 1.0]), "y": 1.0}}),
        Example({}, ((2,), (2,))))  # fmt: skip


class SeveralCache(NamedTuple):
    inputs: tuple[Array, ...]
    z: Array


class Several(Layer):
    """A function of several numbers, of every element by itself."""

    symbols = {"dz": "grad_output"}
    most = 0  # how many inputs forward takes, where some may be left out

    @abstractmethod
    def of(self, *inputs: Array) -> Array:
        """Return z = f(x, y, …)."""

    @abstractmethod
    def shares(self, dz: Array, z: Array, *inputs: Array) -> tuple[Array, ...]:
        """Return dz · ∂z/∂x, dz · ∂z/∂y, …, in z's shape."""

    def backward(self, grad_output: Array, cache: SeveralCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through z_i = f(x_i, y_i, …), with what was stretched added up.

        dx_i = dz_i ∂f/∂x,  dy_i = dz_i ∂f/∂y   (each summed to its input's shape)
        The slopes are in the equations.
        Torch: the function of this name, at ties and poles as well.
        Source: any table of derivatives.
        """
        shares = self.shares(grad_output, cache.z, *cache.inputs)
        pairs = zip(shares, cache.inputs, strict=True)
        left_out = (None,) * (self.most - len(cache.inputs))
        return (*(summed_to(share, np.shape(x)) for share, x in pairs), *left_out), {}


class Pair(Several):
    """A function of two numbers."""

    def forward(self, x: Array, y: Array) -> tuple[Array, SeveralCache]:  # type: ignore[override]
        z = self.of(x, y)
        return z, SeveralCache((x, y), z)


def equations(value: str, by_x: str, by_y: str) -> dict[str, str]:
    """Return the equations of a value and its two slopes."""
    slopes = {"grad_x": f"dx[i] = dz[i] * {by_x}", "grad_y": f"dy[i] = dz[i] * {by_y}"}
    return {"output": f"z[i] = {value}", **slopes}


class Choice(Pair):
    """One of the two numbers, whichever it is."""

    def decisions(self, cache: SeveralCache) -> Array:
        x, y = cache.inputs
        return np.sign(x - y)


class MinGate(Choice):
    """z = min(x, y); at a tie each input gets half, at a nan both get all."""

    equations = equations(
        "min(x[i], y[i])",
        "((x[i] < y[i]) + (x[i] <= y[i])) / 2",
        "((y[i] < x[i]) + (y[i] <= x[i])) / 2",
    )
    examples = TIED

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return np.minimum(x, y)

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        share = np.where(x == y, 0.5 * dz, dz)
        return np.where(x > y, 0, share), np.where(y > x, 0, share)


class FmaxGate(Choice):
    """z = max(x, y), the other one where one is nan; at a tie all goes to x."""

    equations = equations("max(x[i], y[i])", "(x[i] >= y[i])", "(x[i] < y[i])")
    examples = TIED

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return np.where((x >= y) | (y != y), x, y)

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        first = (x >= y) | (y != y)
        return np.where(first, dz, 0), np.where(first, 0, dz)


class FminGate(Choice):
    """z = min(x, y), the other one where one is nan; at a tie all goes to x."""

    equations = equations("min(x[i], y[i])", "(x[i] <= y[i])", "(x[i] > y[i])")
    examples = TIED

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return np.where((x <= y) | (y != y), x, y)

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        first = (x <= y) | (y != y)
        return np.where(first, dz, 0), np.where(first, 0, dz)


class PowGate(Pair):
    """z = xʸ; of x = 0 the slope by y >= 0 is 0, of y = 0 that by x."""

    equations = equations("x[i]**y[i]", "y[i] * x[i]**(y[i] - 1)", "x[i]**y[i] * log(x[i])")
    examples = POSITIVE

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return x**y

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        nothing = (x == 0) & (y >= 0)
        dx = np.where(y == 0, 0, dz * (y * x ** (y - 1)))
        return dx, dz * z * np.log(np.where(nothing, np.ones_like(z), x))


class Atan2Gate(Pair):
    """z = the angle of the point that is x up and y to the right."""

    equations = equations(
        "atan(x[i] / y[i])", "y[i] / (x[i]**2 + y[i]**2)", "(-x[i] / (x[i]**2 + y[i]**2))"
    )
    examples = POSITIVE

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return np.arctan2(np.real(x), np.real(y))

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        over = 1 / (x * x + y * y)
        return dz * y * over, -dz * x * over


class HypotGate(Pair):
    """z = √(x² + y²), where the squares may overflow; of ∞ and nan ∞."""

    equations = equations("sqrt(x[i]**2 + y[i]**2)", "x[i] / z[i]\n" + (
        "where z[i] = sqrt(x[i]**2 + y[i]**2)"
    ), "y[i] / z[i]\nwhere z[i] = sqrt(x[i]**2 + y[i]**2)")  # fmt: skip
    examples = PLAIN

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        m = np.maximum(np.abs(x), np.abs(y))
        endless = np.isinf(x) | np.isinf(y)
        m = np.where((m == 0) | endless, 1, m)
        x, y = x / m, y / m
        return np.where(endless, np.inf, m * np.sqrt(x * x + y * y))

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        return dz * (x / z), dz * (y / z)


class LogAddExpGate(Pair):
    """z = log(eˣ + eʸ)."""

    equations = equations("log(exp(x[i]) + exp(y[i]))", "sigma(x[i] - y[i])", "sigma(y[i] - x[i])")
    examples = PLAIN

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return log_of_sum(x, y)

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        return dz * sigmoid(x - y), dz * sigmoid(y - x)


class LogAddExp2Gate(Pair):
    """z = log(2ˣ + 2ʸ) to the base 2."""

    equations = equations(
        "log(2**x[i] + 2**y[i]) / log(2)",
        "2**x[i] / (2**x[i] + 2**y[i])",
        "2**y[i] / (2**x[i] + 2**y[i])",
    )
    examples = PLAIN

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return log_of_sum(x, y, LN2)

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        return dz * sigmoid(LN2 * (x - y)), dz * sigmoid(LN2 * (y - x))


def log_of_sum(x: Array, y: Array, log_base: float = 1.0) -> Array:
    """Return log(bˣ + bʸ) to the base b, as the larger and what the smaller adds to it."""
    m = np.maximum(x, y)
    below = np.where(m == np.minimum(x, y), np.zeros_like(m), np.minimum(x, y) - m)  # not ∞ - ∞
    return m + np.log1p(np.exp(log_base * below)) / log_base


class XlogyGate(Pair):
    """z = x log y, and 0 where x = 0."""

    equations = equations("x[i] * log(y[i])", "log(y[i])", "x[i] / y[i]")
    examples = POSITIVE

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        zero = (x == 0) & (y == y)
        return x * np.log(np.where(zero, np.ones_like(y), y))

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        zero = (x == 0) & (y <= 0)
        return dz * np.log(np.where(zero, np.ones_like(y), y)), dz * x / y


class Xlog1pyGate(Pair):
    """z = x log(1 + y), and 0 where x = 0."""

    equations = equations("x[i] * log(1 + y[i])", "log(1 + y[i])", "x[i] / (1 + y[i])")
    examples = POSITIVE

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        zero = (x == 0) & (y == y)
        return x * np.log1p(np.where(zero, np.zeros_like(y), y))

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        zero = (x == 0) & (y <= -1)
        return dz * np.log1p(np.where(zero, np.zeros_like(y), y)), dz * x / (y + 1)


class LdexpGate(Pair):
    """z = x 2ʸ."""

    equations = equations("x[i] * 2**y[i]", "2**y[i]", "x[i] * 2**y[i] * log(2)")
    examples = PLAIN

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return x * 2.0**y

    def shares(self, dz: Array, z: Array, x: Array, y: Array) -> tuple:  # type: ignore[override]
        return dz * 2.0**y, dz * z * np.log(2 * np.ones_like(y))
