"""Angles and hyperbolic functions, and their inverses, element by element."""

from __future__ import annotations

import math

import numpy as np

from manual.examples import Example
from manual.gates.pointwise import ABOVE, INSIDE, Pointwise, equations
from manual.layer import Array

__all__ = [
    "AcosGate",
    "AcoshGate",
    "AsinGate",
    "AsinhGate",
    "AtanGate",
    "AtanhGate",
    "CoshGate",
    "SincGate",
    "SinhGate",
    "TanGate",
]


class TanGate(Pointwise):
    """y = tan x."""

    equations = equations("tan(x[i])", "(1 + tan(x[i])**2)")
    examples = (Example({}, (INSIDE,)),)

    def value(self, x: Array) -> Array:
        return np.tan(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 + y * y


class AsinGate(Pointwise):
    """y = arcsin x."""

    equations = equations("asin(x[i])", "1 / sqrt(1 - x[i]**2)")
    examples = (Example({}, (INSIDE,)),)

    def value(self, x: Array) -> Array:
        return np.arcsin(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / np.sqrt(1 - x * x)


class AcosGate(Pointwise):
    """y = arccos x."""

    equations = equations("acos(x[i])", "-1 / sqrt(1 - x[i]**2)")
    examples = (Example({}, (INSIDE,)),)

    def value(self, x: Array) -> Array:
        return np.arccos(x)

    def slope(self, x: Array, y: Array) -> Array:
        return -1 / np.sqrt(1 - x * x)


class AtanGate(Pointwise):
    """y = arctan x."""

    equations = equations("atan(x[i])", "1 / (1 + x[i]**2)")
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return np.arctan(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / (1 + x * x)


class SinhGate(Pointwise):
    """y = sinh x."""

    equations = equations("sinh(x[i])", "cosh(x[i])")
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return np.sinh(x)

    def slope(self, x: Array, y: Array) -> Array:
        return np.cosh(x)


class CoshGate(Pointwise):
    """y = cosh x."""

    equations = equations("cosh(x[i])", "sinh(x[i])")
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return np.cosh(x)

    def slope(self, x: Array, y: Array) -> Array:
        return np.sinh(x)


class AsinhGate(Pointwise):
    """y = arsinh x."""

    equations = equations("asinh(x[i])", "1 / sqrt(1 + x[i]**2)")
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return np.arcsinh(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / np.sqrt(1 + x * x)


class AcoshGate(Pointwise):
    """y = arcosh x, of x >= 1."""

    equations = equations("acosh(x[i])", "1 / sqrt(x[i]**2 - 1)")
    examples = (Example({}, (ABOVE,)),)

    def value(self, x: Array) -> Array:
        return np.arccosh(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / np.sqrt(x * x - 1)


class AtanhGate(Pointwise):
    """y = artanh x, of |x| < 1."""

    equations = equations("atanh(x[i])", "1 / (1 - x[i]**2)")
    examples = (Example({}, (INSIDE,)),)

    def value(self, x: Array) -> Array:
        return np.arctanh(x)

    def slope(self, x: Array, y: Array) -> Array:
        return 1 / (1 - x * x)


class SincGate(Pointwise):
    """y = sin(πx) / (πx), and 1 at x = 0, where the slope is 0."""

    equations = equations(
        "cases(abs(x[i]) > 0, sin(pi * x[i]) / (pi * x[i]), 1)",
        "cases(abs(x[i]) > 0, (z[i] * cos(z[i]) - sin(z[i])) / (z[i] * x[i]), 0)\n"
        "where z[i] = pi * x[i]",
    )
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        z = np.where(x == 0, np.ones_like(x), math.pi * x)
        return np.where(x == 0, 1, np.sin(z) / z)

    def slope(self, x: Array, y: Array) -> Array:
        z = np.where(x == 0, np.ones_like(x), math.pi * x)
        return np.where(x == 0, 0, math.pi * (z * np.cos(z) - np.sin(z)) / (z * z))
