"""Steps: floor, ceil, round, trunc, sign, whose slope is 0; and frac, whose slope is 1."""

from __future__ import annotations

import math

import numpy as np

from manual.examples import Example
from manual.gates.functions import sign
from manual.gates.pointwise import PointCache, Pointwise
from manual.layer import Array

__all__ = [
    "AngleGate",
    "CeilGate",
    "FillGate",
    "FloorGate",
    "FracGate",
    "RoundGate",
    "SignGate",
    "TruncGate",
]

EXAMPLES = (Example({}, ((2, 3),)),)


class Step(Pointwise):
    """A function that is constant between its jumps; its slope is 0, at the jumps as well."""

    equations = {"grad_input": "dx[i] = 0 * dy[i]"}
    examples = EXAMPLES

    def slope(self, x: Array, y: Array) -> Array:
        return np.zeros_like(x)

    def decisions(self, cache: PointCache) -> Array:
        return cache.y


class FloorGate(Step):
    """The largest whole number that is no larger."""

    def value(self, x: Array) -> Array:
        return np.floor(np.real(x))


class CeilGate(Step):
    """The smallest whole number that is no smaller."""

    def value(self, x: Array) -> Array:
        return -np.floor(-np.real(x))


class RoundGate(Step):
    """The nearest whole number, the even one of two.

    Args:
        decimals: how many digits after the point stay; below 0, that many before it become 0.
    """

    def __init__(self, decimals: int = 0) -> None:
        self.decimals = decimals

    def value(self, x: Array) -> Array:
        ten = 10.0 ** abs(self.decimals)
        if self.decimals < 0:
            return np.rint(np.real(x) / ten) * ten
        return np.rint(np.real(x) * ten) / ten

    def extra_repr(self) -> str:
        return f"decimals={self.decimals}"


class TruncGate(Step):
    """The whole number towards 0."""

    def value(self, x: Array) -> Array:
        return truncated(x)


class SignGate(Step):
    """1, 0 or -1."""

    def value(self, x: Array) -> Array:
        return sign(np.real(x))


class AngleGate(Step):
    """The angle of a real number: π below 0, else 0."""

    def value(self, x: Array) -> Array:
        x = np.real(x)
        zeros = np.zeros_like(x)
        return np.where(x != x, x, np.where(x < 0, zeros + math.pi, zeros))


class FillGate(Step):
    """A number everywhere, in the shape of x.

    Args:
        number: the number.
    """

    equations = {"output": "y[i] = number", **Step.equations}
    examples = (Example({"number": 0.5}, ((2, 3),)),)

    def __init__(self, number: float) -> None:
        self.number = number

    def value(self, x: Array) -> Array:
        return np.zeros_like(x) + self.number

    def extra_repr(self) -> str:
        return f"number={self.number}"


class FracGate(Pointwise):
    """x less its whole part, with the sign of x."""

    equations = {"grad_input": "dx[i] = dy[i]"}
    examples = (Example({}, ((2, 3),)),)

    def value(self, x: Array) -> Array:
        return x - truncated(x)

    def slope(self, x: Array, y: Array) -> Array:
        return np.ones_like(x)

    def decisions(self, cache: PointCache) -> Array:
        return truncated(cache.x)


def truncated(x: Array) -> Array:
    """Return x without its fraction: a plain array, for no error passes a step."""
    x = np.real(x)
    return np.sign(x) * np.floor(np.abs(x))
