"""One rounding, at random: how large it is, in which direction, and where an operation has none.

Noise is s · r · size with r uniform of variance 1. r is a hash of the result, the operation and the
sample, and odd in the result: equal numbers err equally, so that ties stay ties. Where an operation
is exact (powers of two, short factors, sums without a remainder) there is no noise: masks and
one-hots would break otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

FUNCTION = 2.0  # root mean square error of a library function, in roundings
SIMPLE = {"add", "subtract", "multiply", "divide", "true_divide", "square", "reciprocal", "sqrt"}
SIZES = {"float64": 2.0**-46, "float32": 2.0**-24}  # in float64 above the carrier's own rounding
OTHERWISE = 2.0**-30  # halves: their own would leave the linear range

_asarray, _empty = np.asarray, np.empty  # `noisy_array.kept` replaces NumPy's while noise is on
_MIX = tuple(zip((30, 27), map(np.uint64, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)), strict=True))
_ROOT3 = float(np.sqrt(3))


class Noise:
    """What is simulated, and which sample it is; set by `sampling`."""

    sample = 0
    size = SIZES["float64"]  # of one rounding
    tiny = 0.0  # what is smaller may be flushed to zero


def words(text: str) -> frozenset[str]:
    """Return the names in a text, which is how long lists of operations are written."""
    return frozenset(text.split())


def size_of(dtype: str) -> float:
    """Return s, the size of one simulated rounding."""
    return SIZES.get(dtype, OTHERWISE)


@contextmanager
def sampling(sample: int, dtype: str) -> Iterator[None]:
    """Simulate the roundings of a dtype once more."""
    before = Noise.sample, Noise.size, Noise.tiny
    Noise.sample, Noise.size = sample, size_of(dtype)
    Noise.tiny = 2.0**-126 if dtype == "float32" else 2.0**-1022
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        Noise.sample, Noise.size, Noise.tiny = before


@cache
def number(name: str) -> int:
    """Return an operation's number in the hash."""
    return sum(ord(c) * 31**i for i, c in enumerate(name[:8]))


def noisy(
    v: Any, operation: str, size: Any = None, exact: Any = None, *, flush: bool = True
) -> Any:
    """Return v with one rounding's noise.

    Args:
        v: the results of an operation.
        operation: which.
        size: of the numbers that were rounded; by default |v|.
        exact: where nothing was rounded.
        flush: whether subnormal numbers may become zero.
    """
    v = _asarray(v)
    if v.dtype == np.complex128:
        out = _empty(v.shape, complex)
        s = np.abs(v) if size is None else np.abs(size)
        out.real = noisy(v.real.copy(), operation, s)
        out.imag = noisy(v.imag.copy(), f"{operation}i", s)
        return out
    if v.dtype != np.float64:
        return v
    r = _random(v, number(operation))
    noise = r * (np.abs(v) if size is None else size) * Noise.size
    if flush and Noise.tiny:
        noise = np.where((np.abs(v) < Noise.tiny) & (v != 0), Noise.tiny * r, noise)
    if exact is not None:
        noise = np.where(exact, 0.0, noise)
    return v + np.where(np.isfinite(noise), noise, 0.0)


def _random(v: np.ndarray, operation: int) -> np.ndarray:
    """Return numbers uniform in ±√3, hashed from |v| and odd in v."""
    seed = (operation * 0x9E3779B97F4A7C15 + Noise.sample * 0xD1B54A32D192ED03) % 2**64
    bits = np.array(np.abs(v), dtype=np.float64, ndmin=1).view(np.uint64) + np.uint64(seed)
    for shift, factor in _MIX:
        bits ^= bits >> np.uint64(shift)
        bits *= factor
    bits ^= bits >> np.uint64(31)
    r = (bits >> np.uint64(11)).astype(np.float64) * (2.0**-52 * _ROOT3) - _ROOT3
    return np.where(np.signbit(v), -r.reshape(v.shape), r.reshape(v.shape))


def exact(name: str, args: tuple, v: Any) -> Any:
    """Return where an operation does not round; None where that is not looked at."""
    match name, args:
        case "add" | "subtract", (a, b):
            a, b = _asarray(a, dtype=np.float64), _asarray(b, dtype=np.float64)
            b = -b if name == "subtract" else b
            kept = v - a
            return (a - (v - kept)) + (b - kept) == 0  # TwoSum
        case "multiply", (a, b):
            return _power_of_two(a) | _power_of_two(b) | (_short(a) & _short(b))
        case "divide" | "true_divide", (a, b):
            whole = _short(b) & _short(v) & (v * b == a)
            return _power_of_two(b) | (_asarray(a) == 0) | whole
        case "square", (a,):
            return _short(a)
        case "sqrt", (a,):
            return _short(v) & (v * v == a)
        case "power" | "float_power", (a, b):
            return _short(v) & _short(a) & (_asarray(b) == np.round(b)) & (np.abs(b) < 8)
        case _, (a,):
            return np.isin(v, (0.0, 1.0, -1.0)) & np.isin(a, (0.0, 1.0, -1.0))
    return None


def whole(*arrays: Any) -> bool:
    """Return whether all numbers are whole: their sums and products are exact."""
    return all(bool(np.all(np.round(a) == a)) for a in arrays)


def _short(a: Any) -> Any:
    return np.float32(a) == a


def _power_of_two(a: Any) -> Any:
    mantissa, _ = np.frexp(np.abs(a))
    return (mantissa == 0.5) | (mantissa == 0)
