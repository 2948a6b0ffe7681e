"""How arithmetic passes rounding errors on; E² on the left, in units of u².

a ± b      Ea² + Eb² + v²                  a · b   (b Ea)² + (a Eb)² + (u Ea Eb)² + v²
a²         (2 a Ea)² + (u Ea²)² + v²
a / b      (Ea/b)² + (v Eb/b)² + v²        aᵇ      (b aᵇ⁻¹ Ea)² + (v log a Eb)² + (4 v)²
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.gauge.array import EXACT, Gauge, is_exact, parts
from compare.gauge.registry import ufunc
from compare.gauge.smooth import rounded, scaled, within_4_ulps
from compare.gauge.state import reached, setting

HUGE = 2.0**100  # masks are larger; a sum's own terms, in any order, are far smaller


@ufunc(np.add)
def _add(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return _absorbed(rounded(av + bv, ae + be), (av, ae), (bv, be))


@ufunc(np.subtract)
def _subtract(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return _absorbed(rounded(av - bv, ae + be), (av, ae), (bv, be))


def _absorbed(found: Gauge, a: tuple[Any, Any], b: tuple[Any, Any]) -> Gauge:
    """Return a sum without error where an exact part swallows the other, as a mask of -inf does.

    Where |b| u/4 > |a| + Ea u the sum is b itself, in every program.
    """
    for (v, e2), (other, error) in ((a, b), (b, a)):
        if is_exact(e2) and np.ndim(v) and np.abs(v).max(initial=0.0) > HUGE:
            u = setting().roundoff
            sketch = setting().sketch is not None
            reach = np.abs(other) + u * (np.abs(error) if sketch else np.sqrt(error))
            found = Gauge(found.v, np.where(np.abs(v) * (u / 4) > reach, 0.0, found.e2))
    return found


@ufunc(np.multiply)
def multiply(a: Any, b: Any) -> Gauge:
    if a is b:  # one error twice, not two
        return _square(a)
    (av, ae), (bv, be) = parts(a), parts(b)
    e2 = scaled(bv, ae) + scaled(av, be)
    if not (is_exact(ae) or is_exact(be)):
        e2 = e2 + setting().second * (ae * be)  # both off: all there is where both are 0
    return rounded(np.multiply(av, bv), e2)


@ufunc(np.divide)
def _divide(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    v = np.divide(av, bv)
    return rounded(v, scaled(np.divide(1.0, bv), ae) + scaled(v / bv, be))


@ufunc(np.square)
def _square(a: Gauge) -> Gauge:
    e2 = scaled(2.0 * a.v, a._e2)
    if not is_exact(e2):
        e2 += setting().second * np.square(a._e2)
    return rounded(np.square(a.v), e2)


@ufunc(np.negative)
def _negative(a: Gauge) -> Gauge:
    return Gauge(-a.v, a.e2)


@ufunc(np.positive)
def _positive(a: Gauge) -> Gauge:
    return Gauge(+a.v, a.e2)


@ufunc(np.absolute, np.fabs)
def _absolute(a: Gauge) -> Gauge:
    return Gauge(np.abs(a.v), a.e2)


@ufunc(np.sign)
def _sign(a: Gauge) -> Gauge:
    return Gauge(np.sign(a.v))


@ufunc(np.power, np.float_power)
def _power(a: Any, b: Any) -> Gauge:
    if isinstance(a, Gauge) and not isinstance(b, Gauge) and np.ndim(b) == 0 and b in (0.5, 2):
        return _square(a) if b == 2 else _sqrt(a)
    (av, ae), (bv, be) = parts(a), parts(b)
    v = np.power(av, bv)
    return within_4_ulps(v, _of_base(av, bv, ae) + _of_exponent(av, v, be))


def _of_base(a: Any, b: Any, e2: Any) -> Any:
    """(b aᵇ⁻¹ Ea)²; an exact zero has no error, however steep the power is there.

    Below the power 1, |(a + e)ᵇ − aᵇ| ≤ |e|ᵇ as well: the slope is infinite at 0, the error is not.
    """
    if is_exact(e2):
        return EXACT
    squares = scaled(b * np.power(a, np.subtract(b, 1)), e2)
    bent = (np.asarray(b) > 0) & (np.asarray(b) < 1) & (np.asarray(a) >= 0)
    if bent.any():
        unit = np.square(setting().roundoff, dtype=setting().squares)
        squares = np.where(bent, np.fmin(squares, np.power(unit * e2, b) / unit), squares)
    return np.where((e2 == 0) | (np.asarray(b) == 0), 0.0, squares)


def _of_exponent(a: Any, v: Any, e2: Any) -> Any:
    """(aᵇ log a Eb)²; 0 where the power is."""
    return scaled(np.where(v == 0, 0.0, v * np.log(np.abs(a))), e2)


@ufunc(np.sqrt)
def _sqrt(a: Gauge) -> Gauge:
    """|√(x + e) − √x| ≤ min(|e| / 2√x, √|e|): the slope is infinite at 0, the error is not."""
    v, e2 = np.sqrt(a.v), a._e2
    if is_exact(e2):
        return within_4_ulps(v, EXACT)
    return within_4_ulps(v, np.fmin(0.25 * e2 / a.v, np.sqrt(e2) / setting().roundoff))


@ufunc(np.cbrt)
def _cbrt(a: Gauge) -> Gauge:
    """|∛(x + e) − ∛x| ≤ min(|e| / 3∛x², 2 ∛|e|)."""
    v, e2 = np.cbrt(a.v), a._e2
    if is_exact(e2):
        return within_4_ulps(v, EXACT)
    own = 4 * np.cbrt(e2) / setting().roundoff ** (4 / 3)
    return within_4_ulps(v, np.fmin(e2 / (9 * np.square(v) ** 2), own))


def _pick(larger: np.ufunc, a: Any, b: Any) -> Gauge:
    """The larger or smaller of two: the winner's error, or either's where rounding may decide."""
    (av, ae), (bv, be) = parts(a), parts(b)
    v = larger(av, bv)
    near = reached(np.subtract(av, bv), np.sqrt(np.add(ae, be)))  # whose square may overflow
    return Gauge(v, np.where(near, np.maximum(ae, be), np.where(v == av, ae, be)))


@ufunc(np.maximum)
def _maximum(a: Any, b: Any) -> Gauge:
    return _pick(np.maximum, a, b)


@ufunc(np.minimum)
def _minimum(a: Any, b: Any) -> Gauge:
    return _pick(np.minimum, a, b)


@ufunc(np.fmax)
def _fmax(a: Any, b: Any) -> Gauge:
    return _pick(np.fmax, a, b)


@ufunc(np.fmin)
def _fmin(a: Any, b: Any) -> Gauge:
    return _pick(np.fmin, a, b)
