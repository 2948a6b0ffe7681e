"""Numbers kept as Python objects, as balls of any precision are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from compare.gauge import Gauge
from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift
from evidence.mutation.battery.layers import LayerCheck


class Number:
    """A float that does no more than a ball does: arithmetic, and functions as its own methods."""

    __slots__ = ("v",)
    asked: ClassVar[bool] = False  # for Γ(½), which is √π to as many digits as a number has

    def __init__(self, v: float) -> None:
        self.v = v

    def __add__(self, other: Any) -> Number:
        return Number(self.v + _value(other))

    def __mul__(self, other: Any) -> Number:
        return Number(self.v * _value(other))

    def __truediv__(self, other: Any) -> Number:
        return Number(self.v / _value(other))

    def __rtruediv__(self, other: Any) -> Number:
        return Number(_value(other) / self.v)

    def __sub__(self, other: Any) -> Number:
        return Number(self.v - _value(other))

    def __neg__(self) -> Number:
        return Number(-self.v)

    __radd__, __rmul__ = __add__, __mul__

    def exp(self) -> Number:
        return Number(math.exp(self.v))

    def erf(self) -> Number:
        return Number(math.erf(self.v))

    def gamma(self) -> Number:
        Number.asked = True
        return Number(math.gamma(self.v))


OWN_PI = Key("√π", "asked of the numbers themselves")


def _value(x: Any) -> float:
    return x.v if isinstance(x, Number) else float(x)


@dataclass(frozen=True)
class ObjectCheck(LayerCheck):
    """A layer on arrays of `Number`, read back as floats."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)

    @property
    def name(self) -> str:
        return f"{super().name}, kept as objects"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        Number.asked = False
        found = super().values(lambda a: _as_objects(lift(a)), dtype, seed)
        asked = {OWN_PI: np.float64(Number.asked)}
        return {key: _as_floats(value) for key, value in found.items()} | asked

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {**super().torch(dtype, seed), OWN_PI: np.float64(True)}


def _as_objects(array: Any) -> Any:
    return array if isinstance(array, Gauge) else np.frompyfunc(Number, 1, 1)(array)


def _as_floats(array: Any) -> Any:
    if isinstance(array, Gauge) or array.dtype != object:
        return array
    return np.array([x.v for x in array.ravel()]).reshape(array.shape)


@cache
def object_checks() -> list[Check]:
    """Return the one layer whose function NumPy cannot do on objects."""
    shapes = (((2, 3),), ((1, 1),))
    return [ObjectCheck("GELU", (), shapes, (kind,)) for kind in ("random", "zeros")]
