"""Sketches: how far errors take an element when they add up instead of averaging out.

The gauge adds the errors of a sum's terms as if they were independent. They are not where many
units pass on the same error: weights of one sign then add it up, layer after layer. A sketch runs
the same code once more and follows one possible set of errors: every operation errs by its typical
size with a random sign, and `e2` of a gauge array holds, to first order, what has become of them
(with its sign, in units of u) instead of E². The root mean square over sketches estimates E with
every correlation in it.

Rounding is a function of the operands, so the sign is a function of the result: units that
compute the same number err alike. Only a step that does not agree is sketched (`Lockstep`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from compare import gauge_rules
from compare.gauge import Gauge, Unit, gauging, least_tolerance, parts
from compare.gauge_rules import EXACT, is_exact
from compare.judge.quantities import Key, Values

FEW, ENOUGH = 4, 16  # sketches; few will do where they leave a difference far beyond them
FAR = 100.0  # by so much four errors do not underestimate their root mean square
BEYOND_ONE_LAYER = 1e6  # errors of n terms add up to √n of what the gauge expects, layer by layer

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@contextmanager
def sketching(dtype: np.dtype, number: int) -> Iterator[None]:
    """Follow the errors of one sketch in gauge arrays; equal numbers give equal signs."""
    before = Unit.sketch
    Unit.sketch = number
    try:
        with gauging(dtype):
            yield
    finally:
        Unit.sketch = before


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
    tolerances: Mapping[Key, Any], errors: Mapping[Key, Any], dtype: np.dtype, k: float
) -> dict[Key, Any]:
    """Return the larger of the tolerances and those that finite errors give."""
    scale, least = k * float(np.finfo(dtype).eps) / 2, least_tolerance(dtype, k)
    finite = {key: np.where(np.isfinite(e), e, 0.0) for key, e in errors.items()}
    return {
        key: np.fmax(tolerance, scale * finite[key] + least) if key in finite else tolerance
        for key, tolerance in tolerances.items()
    }


def signs(v: Any, operation: str) -> np.ndarray:
    """Return ±1 per element: a hash of the number's size, with the number's sign."""
    seed = np.uint64(hash_of(operation, Unit.sketch or 0))
    bits = np.abs(np.asarray(v, dtype=np.float64)).view(np.uint64) + seed
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


def rule(ufunc: np.ufunc) -> Callable[..., Gauge]:
    """Return what a ufunc does to values and to the errors of this sketch."""
    if ufunc in _RULES:
        return _RULES[ufunc]
    slope = gauge_rules.slope_of(ufunc)
    return lambda a: _erring(ufunc(a.v), _passed(slope(a.v, ufunc(a.v)), a.e2), ufunc.__name__, 4.0)


def _erring(v: Any, error: Any, operation: str, ulps: float = 1.0, size: Any = None) -> Gauge:
    """Add one operation's own error: `ulps` of the result, or of `size`, and what is flushed."""
    own = ulps * np.abs(v if size is None else size)
    if Unit.flush_squared:
        own = own + np.sqrt(Unit.flush_squared)
    return Gauge(v, error + signs(v, operation) * own)


def _passed(factor: Any, error: Any) -> Any:
    return EXACT if is_exact(error) else np.where(error == 0, 0.0, factor * error)


def _add(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return _erring(av + bv, ae + be, "add")


def _subtract(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    return _erring(av - bv, ae - be, "add")


def _multiply(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    error = _passed(bv, ae) + _passed(av, be) + Unit.roundoff * _passed(ae, be)
    return _erring(np.multiply(av, bv), error, "multiply")


def _divide(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    v = np.divide(av, bv)
    return _erring(v, _passed(1 / np.asarray(bv), ae) - _passed(v / bv, be), "divide")


def _matmul(a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    size = np.sqrt(float(av.shape[-1]) * (np.square(av) @ np.square(bv)))
    error: Any = 0.0
    if np.ndim(ae):
        error = error + ae @ (bv + Unit.roundoff * be)
    if np.ndim(be):
        error = error + av @ be
    return _erring(av @ bv, error, "matmul", size=size)


def _power(a: Any, b: Any) -> Gauge:
    if np.ndim(b) == 0 and b == 2:
        return _multiply(a, a)
    v = np.power(a.v, b)
    return _erring(v, _passed(b * np.power(a.v, b - 1), a.e2), "power", 4.0)


def _sqrt(a: Gauge) -> Gauge:
    """√(x + e) − √x = e / (√(x + e) + √x), also at 0."""
    v = np.sqrt(a.v)
    beyond = np.sqrt(np.maximum(a.v + Unit.roundoff * a.e2, 0.0)) + v
    return _erring(v, np.where(beyond > 0, a.e2 / beyond, 0.0), "sqrt", 4.0)


def _pick(ufunc: np.ufunc) -> Callable[..., Gauge]:
    def pick(a: Any, b: Any) -> Gauge:
        (av, ae), (bv, be) = parts(a), parts(b)
        v = ufunc(av, bv)
        return Gauge(v, np.where(v == av, ae, be))

    return pick


def total(a: Gauge, axis: Any, keepdims: bool) -> Gauge:
    """Add up the errors of a sum's terms, and its own roundings."""
    v = np.sum(a.v, axis=axis, keepdims=keepdims)
    count = a.v.size // max(np.size(v), 1)
    size = np.sqrt(count * np.sum(np.square(a.v), axis=axis, keepdims=keepdims))
    passed = np.sum(np.broadcast_to(a.e2, a.v.shape), axis=axis, keepdims=keepdims)
    return _erring(v, passed, "sum", size=size)


_RULES: dict[Any, Callable[..., Gauge]] = {
    np.add: _add, np.subtract: _subtract, np.multiply: _multiply, np.divide: _divide,
    np.negative: lambda a: Gauge(-a.v, -a.e2), np.positive: lambda a: Gauge(+a.v, a.e2),
    np.absolute: lambda a: Gauge(np.abs(a.v), np.sign(a.v) * a.e2),
    np.fabs: lambda a: Gauge(np.abs(a.v), np.sign(a.v) * a.e2),
    np.matmul: _matmul, np.power: _power, np.sqrt: _sqrt,
    np.square: lambda a: _multiply(a, a), np.sign: lambda a: Gauge(np.sign(a.v)),
    np.maximum: _pick(np.maximum), np.minimum: _pick(np.minimum),
}  # fmt: skip
