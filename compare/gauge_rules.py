"""How each NumPy ufunc passes rounding errors on; E² on the left, in units of u².

a ± b      Ea² + Eb² + v²                  a · b   (b Ea)² + (a Eb)² + (u Ea Eb)² + v²
a / b      (Ea/b)² + (v Eb/b)² + v²        A @ B   Ea² @ B² + A² @ Eb² + k (A² @ B²)
f(x)       (f′(x) Ex)² + (4 f)²            (NumPy's and torch's own errors measure ≤ 3.7 u)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from compare.gauge import Gauge, Squares, Unit, parts

EXACT = 0.0
SLOPES: dict[np.ufunc, Callable[[Any, Any], Any]] = {  # f: (x, f(x)) -> f′(x)
    np.exp: lambda x, y: y,
    np.expm1: lambda x, y: y + 1,
    np.log: lambda x, y: 1 / x,
    np.log1p: lambda x, y: 1 / (1 + x),
    np.tanh: lambda x, y: 1 - y * y,
    np.reciprocal: lambda x, y: -y * y,
    np.sin: lambda x, y: np.cos(x),
    np.cos: lambda x, y: -np.sin(x),
    np.arctan: lambda x, y: 1 / (1 + x * x),
}
PLAIN = {  # questions about the value: the answer is an ordinary array
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal,
    np.isfinite, np.isnan, np.isinf, np.signbit, np.floor, np.ceil, np.heaviside,
    np.logical_and, np.logical_or, np.logical_not,
}  # fmt: skip


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict) -> Any:
    """Do one ufunc call on values and errors; `out` is filled when it is a gauge array."""
    out = kwargs.pop("out", (None,))[0]
    if method == "reduce":
        from compare.gauge_functions import REDUCTIONS

        result = REDUCTIONS[ufunc](*inputs, **{k: v for k, v in kwargs.items() if k != "dtype"})
    elif ufunc in PLAIN:
        return getattr(ufunc, method)(*(parts(x)[0] for x in inputs), **kwargs)
    elif method != "__call__" or kwargs:
        raise TypeError(f"The error gauge cannot do np.{ufunc.__name__}.{method} with {kwargs}.")
    else:
        result = _rule_now(ufunc)(*inputs)
    if isinstance(out, Gauge):
        out.v, out.e2 = result.v, result.e2
        return out
    return result


def _rule_now(ufunc: np.ufunc) -> Callable[..., Gauge]:
    if Unit.sketch is None:
        return _rule(ufunc)
    from compare.sketch import rule

    return rule(ufunc)


@cache
def _rule(ufunc: np.ufunc) -> Callable[..., Gauge]:
    rules: dict[Any, Callable[..., Gauge]] = {
        np.add: _add, np.subtract: _subtract, np.multiply: _multiply, np.divide: _divide,
        np.negative: lambda a: Gauge(-a.v, a.e2), np.positive: lambda a: Gauge(+a.v, a.e2),
        np.absolute: lambda a: Gauge(np.abs(a.v), a.e2), np.matmul: _matmul,
        np.power: _power, np.sqrt: _sqrt,
        np.square: lambda a: _multiply(a, a),
        np.sign: lambda a: Gauge(np.sign(a.v)),
        np.maximum: lambda a, b: _pick(a, b, np.maximum), np.fabs: lambda a: Gauge(abs(a.v), a.e2),
        np.minimum: lambda a, b: _pick(a, b, np.minimum),
    }  # fmt: skip
    if ufunc in rules:
        return rules[ufunc]
    slope = slope_of(ufunc)
    return lambda a: _function(ufunc, slope, a)


def slope_of(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """Return the derivative of a smooth function as a function of x and f(x)."""
    slope = SLOPES.get(ufunc) or _scipy_slopes().get(ufunc)
    if slope is None:
        raise TypeError(
            f"The error gauge has no rule for the ufunc {ufunc.__name__}; add one to "
            "compare/gauge_rules.py (its derivative is enough)."
        )
    return slope


@cache
def _scipy_slopes() -> dict:
    from scipy import special

    return {special.erf: lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x * x)}


def rounded(v: Any, e2: Squares) -> Gauge:
    """Add the rounding of one operation, v², to errors passed on."""
    own = np.square(v, dtype=Unit.squares)
    own += e2
    if Unit.flush_squared:
        own += Unit.flush_squared
    return Gauge(v, own)


def scaled(factor: Any, e2: Squares) -> Squares:
    """Return (factor E)², exact data staying exact."""
    if is_exact(e2):
        return EXACT
    squares = np.square(factor, dtype=Unit.squares) * e2
    if Unit.wide:  # an infinite error times an exact zero
        squares = np.where(np.asarray(factor) == 0, 0.0, squares)
    return squares


def is_exact(e2: Squares) -> bool:
    return np.ndim(e2) == 0 and e2 == EXACT


def _add(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return rounded(av + bv, ae + be)


def _subtract(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return rounded(av - bv, ae + be)


def _multiply(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    e2 = scaled(bv, ae) + scaled(av, be)
    if not (is_exact(ae) or is_exact(be)):
        e2 = e2 + Unit.roundoff**2 * (ae * be)  # both off: all there is where both values are 0
    return rounded(np.multiply(av, bv), e2)


def _divide(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    v = np.divide(av, bv)
    return rounded(v, scaled(np.divide(1.0, bv), ae) + scaled(v / bv, be))


def _matmul(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    a2, b2 = np.square(av, dtype=Unit.squares), np.square(bv, dtype=Unit.squares)
    left = a2 * float(av.shape[-1])
    left += ae
    e2 = left @ b2
    if np.ndim(be):
        if np.ndim(ae):
            a2 += Unit.roundoff**2 * ae  # both off
        e2 += a2 @ be
    if Unit.flush_squared:
        e2 += Unit.flush_squared
    return Gauge(av @ bv, e2)


def _power(a: Any, b: Any) -> Gauge:
    if isinstance(b, Gauge):
        raise TypeError("The error gauge knows powers with an exact exponent only.")
    if np.ndim(b) == 0 and b == 2:
        return _multiply(a, a)
    v = np.power(a.v, b)
    return Gauge(v, rounded(4 * v, scaled(b * np.power(a.v, b - 1), a.e2)).e2)


def _function(ufunc: np.ufunc, slope: Callable, a: Gauge) -> Gauge:
    v = ufunc(a.v)
    return within_4_ulps(v, scaled(slope(a.v, v), a.e2))


def _sqrt(a: Gauge) -> Gauge:
    """|√(x + e) − √x| ≤ min(|e| / 2√x, √|e|): the slope is infinite at 0, the error is not."""
    v = np.sqrt(a.v)
    if np.ndim(a.e2) == 0:
        return within_4_ulps(v, EXACT)
    return within_4_ulps(v, np.fmin(0.25 * a.e2 / a.v, np.sqrt(a.e2) / Unit.roundoff))


def within_4_ulps(v: Any, e2: Squares) -> Gauge:
    """Add the error of a library function, (4 f)², to errors passed on."""
    own = np.square(v, dtype=Unit.squares)
    own *= 16.0
    own += e2
    if Unit.flush_squared:
        own += Unit.flush_squared
    return Gauge(v, own)


def _pick(a: Any, b: Any, ufunc: np.ufunc) -> Gauge:
    """The larger or smaller of two: the winner's error, or either's where rounding may decide."""
    (av, ae), (bv, be) = parts(a), parts(b)
    v = ufunc(av, bv)
    near = np.square(np.subtract(av, bv)) <= np.square(2.0**-15) * (ae + be)
    return Gauge(v, np.where(near, np.maximum(ae, be), np.where(v == av, ae, be)))
