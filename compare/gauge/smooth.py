"""Smooth functions: f(x) errs by f′(x) Ex, and by 4 f of its own.

NumPy's and torch's own errors measure up to 3.7 u.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from compare.gauge import registry
from compare.gauge.array import EXACT, Gauge, Squares, is_exact, owning, parts
from compare.gauge.correlated import erring, passed, signs
from compare.gauge.state import Doubts, reached, setting
from manual.rounding import bfloat16

ULPS = 4.0
Slope = Callable[[Any, Any], Any]
SLOPES: dict[np.ufunc, Slope] = {  # f: (x, f(x)) -> f′(x)
    np.exp: lambda x, y: y,
    np.exp2: lambda x, y: np.log(2.0) * y,
    np.expm1: lambda x, y: y + 1,
    np.log: lambda x, y: 1 / x,
    np.log2: lambda x, y: 1 / (np.log(2.0) * x),
    np.log10: lambda x, y: 1 / (np.log(10.0) * x),
    np.log1p: lambda x, y: 1 / (1 + x),
    np.tanh: lambda x, y: 1 - y * y,
    np.sinh: lambda x, y: np.cosh(x),
    np.cosh: lambda x, y: np.sinh(x),
    np.reciprocal: lambda x, y: -y * y,
    np.sin: lambda x, y: np.cos(x),
    np.cos: lambda x, y: -np.sin(x),
    np.tan: lambda x, y: 1 + y * y,
    np.arctan: lambda x, y: 1 / (1 + x * x),
    np.arcsin: lambda x, y: 1 / np.sqrt(1 - x * x),
    np.arccos: lambda x, y: -1 / np.sqrt(1 - x * x),
    np.arcsinh: lambda x, y: 1 / np.sqrt(1 + x * x),
    np.arccosh: lambda x, y: 1 / np.sqrt(x * x - 1),
    np.arctanh: lambda x, y: 1 / (1 - x * x),
}
SCIPY_SLOPES: dict[str, Slope] = {  # scipy.special's ufuncs, by name: it is slow to import
    "erf": lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "erfc": lambda x, y: -2 / np.sqrt(np.pi) * np.exp(-x * x),
    "expit": lambda x, y: _expit(x) * _expit(-x),
    "log_expit": lambda x, y: _expit(-x),
    "ndtr": lambda x, y: np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    "log_ndtr": lambda x, y: np.exp(-x * x / 2 - y) / np.sqrt(2 * np.pi),
    "ndtri": lambda x, y: np.exp(y * y / 2) * np.sqrt(2 * np.pi),
    "erfinv": lambda x, y: np.exp(y * y) * np.sqrt(np.pi) / 2,
    "erfcx": lambda x, y: 2 * x * y - 2 / np.sqrt(np.pi),
    "gammaln": lambda x, y: _polygamma(0, x),
    "psi": lambda x, y: _polygamma(1, x),
    "i0": lambda x, y: _bessel("i1", x),
    "i0e": lambda x, y: _bessel("i1e", x) - np.sign(x) * y,
    "i1": lambda x, y: (_bessel("i0", x) + _bessel("iv", 2, x)) / 2,
    "i1e": lambda x, y: (_bessel("i0e", x) + _bessel("ive", 2, x)) / 2 - np.sign(x) * y,
}
# what bends within 1, and is flat beyond: a derivative there says nothing of what lies further off
BENDING = frozenset(
    ("exp", "exp2", "expm1", "tanh", "arctan", "expit", "log_expit", "erf", "erfc", "ndtr")
)
Partials = Callable[[Any, Any, Any], tuple[Any, Any]]
PARTIALS: dict[np.ufunc, Partials] = {  # f: (a, b, f(a, b)) -> ∂f/∂a, ∂f/∂b
    np.logaddexp: lambda a, b, y: (_weight(a, y), _weight(b, y)),
    np.hypot: lambda a, b, y: (_ratio(a, y), _ratio(b, y)),
    np.arctan2: lambda a, b, y: (_turn(b, a), _turn(-a, b)),
}


def _polygamma(n: int, x: Any) -> Any:
    from scipy import special

    return special.polygamma(n, x)


def polygamma_rule(a: Gauge, n: int) -> Gauge:
    """Follow polygamma, which is no ufunc."""
    v = _polygamma(n, a.v)
    slope = _polygamma(n + 1, a.v)
    if setting().sketch is None:
        return within_4_ulps(v, scaled(slope, a._e2))
    return erring(v, passed(slope, a._e2), "polygamma", ULPS)


registry.OTHERS["polygamma"] = polygamma_rule


def _bessel(name: str, *args: Any) -> Any:
    from scipy import special

    return getattr(special, name)(*args)


def _expit(x: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -x))


def _weight(x: Any, y: Any) -> Any:
    """exp(x − y), the softmax of two; 0 where both are −∞."""
    return np.where(np.isneginf(x), 0.0, np.exp(np.subtract(x, y)))


def _largest_weight(x: Any, y: Any, far: Any) -> Any:
    """The largest on the way, where x − y may be off by more than 1."""
    moved = np.minimum(np.subtract(x, y) + np.where(far <= 1, 0.0, far), 0.0)
    return np.where(np.isneginf(x), 0.0, np.exp(moved))


def _ratio(x: Any, y: Any) -> Any:
    return np.where(y == 0, 1.0, np.divide(x, y))


def _turn(a: Any, b: Any) -> Any:
    """a / (a² + b²); no direction is known at 0."""
    length = a * a + b * b
    return np.where(length == 0, np.inf, np.divide(a, length))


def slope_of(ufunc: np.ufunc) -> Slope:
    """Return the derivative of a smooth function as a function of x and f(x)."""
    slope = SLOPES.get(ufunc) or SCIPY_SLOPES.get(registry.of_scipy(ufunc) or "")
    if slope is None:
        raise TypeError(
            f"The error gauge has no rule for the ufunc {ufunc.__name__}; add one to "
            "compare/gauge/smooth.py (its derivative is enough)."
        )
    return slope


def rule(ufunc: np.ufunc) -> Callable[..., Gauge]:
    """Return what a ufunc without a rule of its own does, by its derivative."""
    found = _squared(ufunc)
    return found if setting().sketch is None else _signed(ufunc)


registry.OTHERS["slope"] = rule


@cache
def _squared(ufunc: np.ufunc) -> Callable[..., Gauge]:
    if ufunc in PARTIALS:
        return lambda a, b: _of_two(ufunc, a, b)
    slope, bends = slope_of(ufunc), ufunc.__name__ in BENDING

    def smooth(a: Gauge) -> Gauge:
        v = ufunc(a.v)
        e2 = scaled(slope(a.v, v), a._e2)
        if bends and not is_exact(e2) and _is_far(a._e2):
            e2 = _further(ufunc, a, v, e2)
        return within_4_ulps(v, e2)

    return smooth


def _is_far(e2: Squares) -> bool:
    """Return whether any number may be off by more than 1."""
    return not np.max(e2, initial=0.0) <= setting().reach ** -2


def _further(ufunc: np.ufunc, a: Gauge, v: Any, e2: Squares) -> Squares:
    """Where x may be off by more than 1, count what f changes by on the way: exp(-9 ± 1e3)."""
    reach = setting().reach
    far = reach * np.sqrt(a._e2)  # of the squares' width: those of a mask's -1.8e308 overflow
    ends = (np.asarray(end, dtype=np.float64) for end in (a.v + far, a.v - far))
    changes = [np.abs(ufunc(end) - v) / reach for end in ends]
    return np.where(
        far <= 1, e2, np.fmax(e2, np.square(np.fmax(*changes), dtype=setting().squares))
    )


@cache
def _signed(ufunc: np.ufunc) -> Callable[..., Gauge]:
    if ufunc in PARTIALS:
        return lambda a, b: _of_two(ufunc, a, b)
    slope = slope_of(ufunc)

    def smooth(a: Gauge) -> Gauge:
        v = ufunc(a.v)
        return erring(v, passed(slope(a.v, v), a._e2), ufunc.__name__, ULPS)

    return smooth


def _of_two(ufunc: np.ufunc, a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    v = ufunc(av, bv)
    by_a, by_b = PARTIALS[ufunc](av, bv, v)
    if setting().sketch is None:
        if ufunc is np.logaddexp and _is_far(np.add(ae, be)):
            far = setting().reach * np.sqrt(np.add(ae, be))  # either may be the larger
            by_a, by_b = _largest_weight(av, v, far), _largest_weight(bv, v, far)
        return within_4_ulps(v, scaled(by_a, ae) + scaled(by_b, be))
    return erring(v, passed(by_a, ae) + passed(by_b, be), ufunc.__name__, ULPS)


def _bfloat16(a: Gauge) -> Gauge:
    """Round to bfloat16, as both sides do: they part where a rounding falls to either side.

    That is a whole unit of the last place and no more, so K, which allows for many roundings, is
    taken out.
    """
    v, ulps = bfloat16(a.v), 2.0**-7 / setting().reach
    if setting().sketch is None:
        return _adding(ulps**2, v, a._e2)
    return erring(v, a._e2, "bfloat16", ulps)


registry.OTHERS["bfloat16"] = _bfloat16


def _turning(a: Gauge) -> Gauge:
    """Return zeros; where a's error reaches past 0, its sign may be another, two away.

    What is decided by one sign in several places turns together: its errors add up, twice that.
    """
    zeros = np.zeros(np.shape(a.v))
    if is_exact(a._e2):
        return Gauge(zeros)
    sketch = setting().sketch is not None
    error = np.abs(a._e2) if sketch else np.sqrt(a._e2)
    doubt = _within_reach(a.v, error, 8.0)
    turned = np.where(doubt, 4 / setting().reach, 0.0)
    return Gauge(zeros, signs(a.v, "turning") * turned if sketch else np.square(turned))


registry.OTHERS["turning"] = _turning


def _within_reach(distance: Any, error: Any, flushes: float) -> Any:
    """Return where an error reaches past 0; an exact 0 has none but what flushing leaves."""
    flushed = flushes * np.sqrt(setting().flush_squared)
    return reached(distance, error) & ((error > flushed) | (distance != 0))


def _doubtful(doubts: Doubts, compare: np.ufunc, a: Any, b: Any) -> Any:
    """Compare; where rounding may turn the answer, it is 0 or 1, with the error of `Doubts`."""
    (av, ae), (bv, be) = parts(a), parts(b)
    answer = compare(av, bv)
    doubt = _within_reach(np.subtract(av, bv), np.sqrt(np.add(ae, be)), 2.0**20)
    if not doubt.any():
        return answer
    doubts.count += int(np.count_nonzero(doubt))
    turned = doubts.error / setting().reach
    return Gauge(answer.astype(np.float64), np.where(doubt, turned**2, 0.0))


registry.OTHERS["doubt"] = _doubtful


@registry.ufunc(np.invert)
def _not(a: Gauge) -> Gauge:
    """Turn an answer in doubt around."""
    return Gauge(1.0 - a.v, a._e2)


def scaled(factor: Any, e2: Squares) -> Squares:
    """Return (factor E)², exact data staying exact."""
    if is_exact(e2):
        return EXACT
    squares = np.square(factor, dtype=setting().squares) * e2
    if setting().wide:  # an infinite error times an exact zero
        squares = np.where(np.asarray(factor) == 0, 0.0, squares)
    return squares


def rounded(v: Any, e2: Squares) -> Gauge:
    """Add the rounding of one operation, v², to errors passed on."""
    return _adding(1.0, v, e2)


def within_4_ulps(v: Any, e2: Squares) -> Gauge:
    """Add the error of a library function, (4 f)², to errors passed on; of a half, f²."""
    return _adding(setting().ulps ** 2, v, e2)


def _adding(size: float, v: Any, e2: Squares) -> Gauge:
    _, flush_squared, squares, *_ = setting()
    own = np.square(v, dtype=squares)
    size *= setting().rounding
    if size != 1.0:
        own *= size
    own += e2
    if flush_squared:
        own += flush_squared
    return owning(v, own)
