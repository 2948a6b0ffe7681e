"""Error-gauge arrays: run the hand-written code once more to learn how far rounding can take it.

A `Gauge` carries a value `v` (float64) and the square of its accumulated rounding error `E`, in
units of the unit roundoff u. Errors combine as a root of a sum of squares, as independent errors
do; worst-case bounds grow so fast with depth that they would accept anything. With E known, two
correct programs may differ in an element by at most

    K (u E + 4 tiny),   K = 256

where tiny is the dtype's smallest normal number. The rule for each operation is in `gauge_rules`.
E² underflows where E < 1e-154; so E is never taken to be less than SMALLEST.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

K = 256.0
SMALLEST = 1e-150

Squares = Any  # E²: an array of v's shape, or 0.0 for exact data


class Gauge(NDArrayOperatorsMixin):
    """A float64 array with the square of every element's rounding error."""

    __slots__ = ("e2", "v")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, v: np.ndarray, e2: Squares = 0.0) -> None:
        self.v, self.e2 = v, e2

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from compare.gauge_rules import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from compare.gauge_functions import FUNCTIONS

        if func not in FUNCTIONS:
            raise TypeError(
                f"The error gauge has no rule for numpy.{func.__name__}. Write the layer with "
                f"functions it has ({', '.join(sorted(f.__name__ for f in FUNCTIONS))}), or add "
                "one to compare/gauge_functions.py."
            )
        return FUNCTIONS[func](*args, **kwargs)

    @property
    def error(self) -> np.ndarray:
        """E of every element, in units of the unit roundoff."""
        return np.sqrt(np.broadcast_to(self.e2, self.v.shape))

    def tolerance(self, dtype: np.dtype, k: float = K) -> np.ndarray:
        """Return how far two correct programs in `dtype` may differ, element by element."""
        tolerance = self.error
        tolerance *= k * float(np.finfo(dtype).eps) / 2
        tolerance += least_tolerance(dtype, k)
        return tolerance.astype(np.float64, copy=False)

    # what NumPy's arrays offer as attributes and methods
    shape = property(lambda self: self.v.shape)
    ndim = property(lambda self: self.v.ndim)
    size = property(lambda self: self.v.size)
    dtype = property(lambda self: self.v.dtype)
    T = property(lambda self: self._moved(lambda a: a.T))

    def __len__(self) -> int:
        return len(self.v)

    def __repr__(self) -> str:
        return f"Gauge({self.v!r}, E={self.error!r})"

    def _moved(self, move: Any) -> Gauge:
        """Apply a rearrangement of elements to the values and their errors alike."""
        if np.ndim(self.e2) == 0 and self.e2 == 0:
            return Gauge(move(self.v))
        return Gauge(move(self.v), move(np.broadcast_to(self.e2, self.v.shape)))

    def full_e2(self) -> np.ndarray:
        """E² as a writable array of v's shape."""
        return np.array(np.broadcast_to(self.e2, self.v.shape))

    def __getitem__(self, index: Any) -> Gauge:
        return self._moved(lambda a: a[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        v, e2 = parts(value)
        self.e2 = self.full_e2()
        self.v[index], self.e2[index] = v, e2

    def reshape(self, *shape: Any) -> Gauge:
        return self._moved(lambda a: a.reshape(*shape))

    def transpose(self, *axes: Any) -> Gauge:
        return self._moved(lambda a: a.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> Gauge:
        return self._moved(lambda x: x.swapaxes(a, b))

    def ravel(self) -> Gauge:
        return self._moved(lambda a: a.ravel())

    def copy(self) -> Gauge:
        return self._moved(lambda a: a.copy())

    def sum(self, axis: Any = None, keepdims: bool = False) -> Gauge:
        return np.sum(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def mean(self, axis: Any = None, keepdims: bool = False) -> Gauge:
        return np.mean(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def max(self, axis: Any = None, keepdims: bool = False) -> Gauge:
        return np.max(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def min(self, axis: Any = None, keepdims: bool = False) -> Gauge:
        return np.min(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def argmax(self, axis: Any = None) -> np.ndarray:
        return self.v.argmax(axis=axis)


def least_tolerance(dtype: np.dtype, k: float = K) -> float:
    """Return the tolerance of an exact zero: K (u SMALLEST + 4 tiny)."""
    info = np.finfo(dtype)
    return k * (float(info.eps) / 2 * SMALLEST + 4 * float(info.tiny))


def parts(x: Any) -> tuple[Any, Squares]:
    """Return the value and the squared error of a gauge array, or of exact data."""
    return (x.v, x.e2) if isinstance(x, Gauge) else (x, 0.0)


def gauge(array: Any) -> Gauge:
    """Wrap exact data: the error of a given weight or input is zero."""
    return Gauge(np.asarray(array, dtype=np.float64))


class Unit:
    """What the gauged programs compute in, and what squares are kept in; set by `gauging`."""

    roundoff = 2.0**-53
    flush_squared = 0.0  # (tiny/u)²: what flushing a subnormal to zero adds per operation
    squares: type = np.float64
    wide = False
    sketch: int | None = None  # its number: gauge arrays then carry signed errors (`sketch`)


@contextmanager
def gauging(dtype: np.dtype, *, wide: bool = False) -> Iterator[None]:
    """Gauge for programs that run in `dtype`; silences overflow.

    In float64 the square of tiny/u is itself far below the smallest number, so it is zero.

    Args:
        dtype: float32 or float64.
        wide: keep squares in extended precision, whose range holds the squares of all float64
            numbers where the platform has it (x86): much slower, for values beyond 1e±150.
    """
    info = np.finfo(dtype)
    before = Unit.roundoff, Unit.flush_squared, Unit.squares, Unit.wide
    Unit.roundoff = float(info.eps) / 2
    Unit.flush_squared = (float(info.tiny) / Unit.roundoff) ** 2
    Unit.squares, Unit.wide = (np.longdouble if wide else np.float64), wide
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        Unit.roundoff, Unit.flush_squared, Unit.squares, Unit.wide = before
