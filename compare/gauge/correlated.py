"""Correlated errors: how far they take an element when they add up instead of averaging out.

The gauge adds the errors of a sum's terms as if they were independent. They are not where many
units pass on the same error: weights of one sign then add it up, layer after layer. A sketch runs
the same code once more and follows one possible set of errors: every operation errs by its typical
size with a random sign, and `e2` of a gauge array holds, to first order, what has become of them
(with its sign, in units of u) instead of E². The root mean square over sketches estimates E with
every correlation in it.

Rounding is a function of the operands, so in every second sketch the sign is a function of the
result: units that compute the same number err alike. But a product adds up the last rows of a
matrix in another order than the others, so equal rows need not err alike: in the sketches between,
the sign depends on the place as well. Only a step that does not agree is sketched (`Lockstep`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.gauge.array import EXACT, Gauge, K, is_exact, least_tolerance, parts
from compare.gauge.registry import CORRELATED, ufunc
from compare.gauge.state import Format, format_of, setting

if TYPE_CHECKING:
    from compare.judge.quantities import Key, Values

FEW, ENOUGH = 4, 16  # sketches; few will do where they leave a difference far beyond them
LIBRARY = 4.0  # roundings of a library function in float32 and float64
FAR = 100.0  # by so much four errors do not underestimate their root mean square

_STEP = np.uint64(0x9E3779B97F4A7C15)  # apart by an odd number: no two places are alike
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def sketches(run: Callable[[int], Values]) -> Iterator[dict[Key, Any]]:
    """Yield every tensor's E, first from FEW sketches, then from ENOUGH.

    Args:
        run: runs the code on gauge arrays within `sketching(dtype, number)`.
    """
    lengths: dict[Key, Any] = {}  # √Σ e²
    for number in range(ENOUGH):
        for key, value in run(number).items():
            if isinstance(value, Gauge):
                lengths[key] = np.hypot(lengths.get(key, 0.0), value.e2)  # squares overflow
        if number + 1 in (FEW, ENOUGH):
            yield {key: length / np.sqrt(number + 1) for key, length in lengths.items()}


def widened(
    tolerances: Mapping[Key, Any], errors: Mapping[Key, Any], dtype: np.dtype | Format, k: float
) -> dict[Key, Any]:
    """Return the larger of the tolerances and those that finite errors give."""
    scale, least = k * format_of(dtype).unit, least_tolerance(dtype, k)
    finite = {key: np.where(np.isfinite(e), e, 0.0) for key, e in errors.items()}
    return {
        key: np.fmax(tolerance, scale * finite[key] + least) if key in finite else tolerance
        for key, tolerance in tolerances.items()
    }


def signs(v: Any, operation: str) -> np.ndarray:
    """Return ±1 per element: a hash of the number's size, with the number's sign.

    In sketches of odd number it is a hash of the place among the elements as well.
    """
    number = setting().sketch or 0
    bits = np.abs(np.asarray(v, dtype=np.float64)).view(np.uint64)
    bits = bits + np.uint64(hash_of(operation, number))
    if number % 2:
        bits += np.arange(bits.size, dtype=np.uint64).reshape(bits.shape) * _STEP
    for shift, factor in zip((30, 27), _MIX, strict=True):  # splitmix64
        bits ^= bits >> np.uint64(shift)
        bits *= factor
    bits ^= bits >> np.uint64(31)
    return np.where(bits & np.uint64(1), 1.0, -1.0) * np.where(np.less(v, 0), -1.0, 1.0)


@cache
def hash_of(operation: str, number: int) -> int:
    """Return 64 bits that differ between operations and sketches, and not between processes."""
    return int(
        np.random.SeedSequence([number, *operation.encode()]).generate_state(1, np.uint64)[0]
    )


def erring(v: Any, error: Any, operation: str, ulps: float = 1.0, size: Any = None) -> Gauge:
    """Add one operation's own error: `ulps` of the result, or of `size`, and what is flushed."""
    ulps = setting().ulps if ulps == LIBRARY else ulps
    own = ulps * np.abs(v if size is None else size)
    if size is None and setting().rounding != 1.0:
        own = own * np.sqrt(setting().rounding)
    if setting().flush_squared:
        own = own + np.sqrt(setting().flush_squared)
    return Gauge(v, error + signs(v, operation) * own)


def passed(factor: Any, error: Any) -> Any:
    """Return an error times a slope; what is exact stays so, however steep the slope."""
    return EXACT if is_exact(error) else np.where(error == 0, 0.0, factor * error)


def signed(*ufuncs: np.ufunc) -> Callable[[Callable[..., Gauge]], Callable[..., Gauge]]:
    """Register a rule for the signed errors of a sketch."""
    return ufunc(*ufuncs, into=CORRELATED)


@signed(np.add)
def _add(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return erring(av + bv, ae + be, "add")


@signed(np.subtract)
def _subtract(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return erring(av - bv, ae - be, "add")


@signed(np.multiply)
def _multiply(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    error = passed(bv, ae) + passed(av, be) + setting().roundoff * passed(ae, be)
    return erring(np.multiply(av, bv), error, "multiply")


@signed(np.divide)
def _divide(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    v = np.divide(av, bv)
    return erring(v, passed(1 / np.asarray(bv), ae) - passed(v / bv, be), "divide")


@signed(np.square)
def _square(a: Gauge) -> Gauge:
    return _multiply(a, a)


@signed(np.negative)
def _negative(a: Gauge) -> Gauge:
    return Gauge(-a.v, -a._e2)


@signed(np.positive)
def _positive(a: Gauge) -> Gauge:
    return Gauge(+a.v, a.e2)


@signed(np.absolute, np.fabs)
def _absolute(a: Gauge) -> Gauge:
    return Gauge(np.abs(a.v), np.sign(a.v) * a._e2)


@signed(np.sign)
def _sign(a: Gauge) -> Gauge:
    return Gauge(np.sign(a.v))


@signed(np.power, np.float_power)
def _power(a: Any, b: Any) -> Gauge:
    if not isinstance(b, Gauge) and np.ndim(b) == 0 and b in (0.5, 2):
        return _multiply(a, a) if b == 2 else _sqrt(a)
    (av, ae), (bv, be) = parts(a), parts(b)
    v = np.power(av, bv)
    of_base = passed(np.where(np.asarray(bv) == 0, 0.0, bv * np.power(av, np.subtract(bv, 1))), ae)
    bent = (np.asarray(bv) > 0) & (np.asarray(bv) < 1) & (np.asarray(av) >= 0)
    if bent.any() and not is_exact(ae):  # the slope is infinite at 0, the error is not
        u = setting().roundoff
        beyond = (np.power(np.maximum(av + u * ae, 0.0), bv) - v) / u
        of_base = np.where(bent & ~np.isfinite(of_base), beyond, of_base)
    of_exponent = passed(np.where(v == 0, 0.0, v * np.log(np.abs(av))), be)
    return erring(v, of_base + of_exponent, "power", 4.0)


@signed(np.sqrt)
def _sqrt(a: Gauge) -> Gauge:
    """√(x + e) − √x = e / (√(x + e) + √x), also at 0."""
    v = np.sqrt(a.v)
    beyond = np.sqrt(np.maximum(a.v + setting().roundoff * a._e2, 0.0)) + v
    return erring(v, np.where(beyond > 0, a._e2 / beyond, 0.0), "sqrt", 4.0)


@signed(np.cbrt)
def _cbrt(a: Gauge) -> Gauge:
    v, u = np.cbrt(a.v), setting().roundoff
    return erring(v, (np.cbrt(a.v + u * a._e2) - v) / u, "cbrt", 8.0)


def _pick(ufunc: np.ufunc) -> Callable[..., Gauge]:
    """The larger or smaller of two, and of the two as far off as they may be.

    Errors are taken K-fold and given back as a K-th: what they would make it pick counts as well.
    """

    def pick(a: Any, b: Any) -> Gauge:
        (av, ae), (bv, be) = parts(a), parts(b)
        v, most = ufunc(av, bv), K * setting().roundoff
        first = v == av
        with np.errstate(invalid="ignore", over="ignore"):
            far_a, far_b = av + most * ae, bv + most * be
            far = ufunc(far_a, far_b)
            turned = ((far == far_a) != first) & ~np.isinf(far) | np.isnan(far)
            moved = far - v
            other = moved / most + np.copysign(far, moved)  # which the programs round
            return Gauge(v, np.where(turned, other, np.where(first, ae, be)))

    return pick


for _one in (np.maximum, np.minimum, np.fmax, np.fmin):
    CORRELATED[_one] = _pick(_one)
