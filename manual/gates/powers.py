"""Roots, exponentials and logarithms, element by element."""

from __future__ import annotations

import math

import numpy as np

from manual.examples import Example
from manual.gates.pointwise import POSITIVE, Pointwise, equations
from manual.layer import Array

__all__ = [
    "Exp2Gate",
    "ExpM1Gate",
    "ExponentialGate",
    "Log1pGate",
    "Log2Gate",
    "Log10Gate",
    "RsqrtGate",
    "SqrtGate",
]

LN2, LN10 = math.log(2), math.log(10)


class SqrtGate(Pointwise):
    """y = √x."""

    equations = equations("sqrt(x[i])", "1 / (2 * sqrt(x[i]))")
    examples = (Example({}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        return np.sqrt(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / (2 * y)


class RsqrtGate(Pointwise):
    """y = 1 / √x."""

    equations = equations("1 / sqrt(x[i])", "-1 / (2 * x[i] * sqrt(x[i]))")
    examples = (Example({}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        return 1 / np.sqrt(x)

    def slope(self, x: Array, y: Array) -> Array:
        return -0.5 * (y * y * y)


class Exp2Gate(Pointwise):
    """y = 2ˣ."""

    equations = equations("2**x[i]", "2**x[i] * log(2)")
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return np.exp(LN2 * x)

    def slope(self, x: Array, y: Array) -> Array:
        return LN2 * y


class ExponentialGate(Pointwise):
    """y = bˣ, a number to the power x.

    Args:
        base: b; of b = 0 the slope is taken as 0, as torch takes it where x >= 0.
    """

    equations = equations("base**x[i]", "base**x[i] * log(base)")
    examples = (Example({"base": 1.5}, ((2, 3),)),)

    def __init__(self, base: float) -> None:
        self.base = base

    def value(self, x: Array) -> Array:
        return self.base**x

    def slope(self, x: Array, y: Array) -> Array:
        if self.base == 0:
            return np.where(x >= 0, 0 * y, -math.inf * y)
        return y * np.log(self.base * np.ones_like(x))

    def extra_repr(self) -> str:
        return f"base={self.base}"


class ExpM1Gate(Pointwise):
    """y = eˣ - 1, exact near 0."""

    equations = equations("exp(x[i]) - 1", "exp(x[i])")
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return np.expm1(x)

    def slope(self, x: Array, y: Array) -> Array:
        return y + 1


class Log1pGate(Pointwise):
    """y = log(1 + x), exact near 0."""

    equations = equations("log(1 + x[i])", "1 / (1 + x[i])")
    examples = (Example({}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        return np.log1p(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / (1 + x)


class Log2Gate(Pointwise):
    """y = log x to the base 2."""

    equations = equations("log(x[i]) / log(2)", "1 / (x[i] * log(2))")
    examples = (Example({}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        return np.log(x) / LN2

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / (x * LN2)


class Log10Gate(Pointwise):
    """y = log x to the base 10."""

    equations = equations("log(x[i]) / log(10)", "1 / (x[i] * log(10))")
    examples = (Example({}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        return np.log(x) / LN10

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / (x * LN10)
