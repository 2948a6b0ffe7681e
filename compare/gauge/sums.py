"""Reductions: sums add up errors, with E² = Σ Ei² + n Σ vi²; the rest is built on them.

n Σ vi² covers any order of adding n terms. What `where=` leaves out is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compare.gauge.array import Gauge, gauge, is_exact, owning, parts, rule_for, spread
from compare.gauge.correlated import erring
from compare.gauge.products import done, inside
from compare.gauge.registry import function, method
from compare.gauge.state import reached, setting

Add = Callable[[Any], Any]


def summed(add: Add, a: Gauge, terms: Any) -> Gauge:
    """Return add(a), which adds up elements.

    Args:
        add: called with ordinary arrays.
        a: what is added up.
        terms: how many elements each result sums: a number, or an array like the result.
    """
    v = add(a.v)
    if setting().sketch is not None:
        own = terms * inside("sum") * add(np.square(a.v))
        size = np.sqrt(done(v, own, terms, "sum"))
        return erring(v, add(spread(a._e2, a.v.shape)), "sum", size=size)
    squares = np.square(a.v, dtype=setting().squares)
    if np.ndim(terms):
        e2 = add(squares) * (terms * inside("sum"))
        e2 = e2 if is_exact(a._e2) else e2 + add(spread(a._e2, a.v.shape))
        return Gauge(v, done(v, e2, terms, "sum"))
    squares *= float(terms) * inside("sum")
    squares += a._e2
    return owning(v, done(v, add(squares), terms, "sum"))


@function(np.sum)
def total(
    a: Gauge, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    initial: Any = None, where: Any = True,
) -> Gauge:  # fmt: skip
    _float_only("sum", dtype, out)
    terms: Any = None
    if where is not True:
        where = np.broadcast_to(parts(where)[0], a.shape)
        terms = np.sum(where, axis=axis, keepdims=keepdims)

    def add(x: Any) -> Any:
        return np.sum(x, axis=axis, keepdims=keepdims, where=where)

    if terms is None:
        terms = _count(a, axis)
    found = summed(add, a, terms)
    return found if initial is None else found + initial  # type: ignore[return-value]


def _count(a: Gauge, axis: Any) -> int:
    """Return how many elements are reduced to one."""
    if axis is None:
        return a.v.size
    axes = axis if isinstance(axis, tuple) else (axis,)
    count = 1
    for i in axes:
        count *= a.v.shape[i]
    return count


def _float_only(name: str, dtype: Any, out: Any) -> None:
    if out is not None or not (dtype is None or np.issubdtype(dtype, np.floating)):
        raise TypeError(
            f"The error gauge knows np.{name} of floats, with out= by keyword; received "
            f"dtype={dtype}, out={out}."
        )


@function(np.mean)
def mean(
    a: Gauge, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    *, where: Any = True,
) -> Gauge:  # fmt: skip
    return total(a, axis, dtype, out, keepdims, where=where) / _number(a, axis, keepdims, where)  # type: ignore[return-value]


def _number(a: Gauge, axis: Any, keepdims: bool, where: Any) -> Any:
    if where is True:
        return float(_count(a, axis))
    where = np.broadcast_to(parts(where)[0], a.shape)
    return np.sum(where, axis=axis, keepdims=keepdims).astype(np.float64)


@function(np.var)
def var(
    a: Gauge, axis: Any = None, dtype: Any = None, out: None = None, ddof: float = 0,
    keepdims: bool = False, *, where: Any = True, mean: Any = None, correction: float | None = None,
) -> Gauge:  # fmt: skip
    _float_only("var", dtype, out)
    middle = np.mean(a, axis=axis, keepdims=True, where=where) if mean is None else mean
    squares = np.square(a - middle)
    ddof = ddof if correction is None else correction
    freedom = np.maximum(_number(a, axis, keepdims, where) - ddof, 0.0)
    return total(squares, axis, keepdims=keepdims, where=where) / freedom  # type: ignore[return-value]


@function(np.std)
def std(a: Gauge, *args: Any, **kwargs: Any) -> Gauge:
    return np.sqrt(np.var(a, *args, **kwargs))


@function(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False
) -> Any:
    if returned:
        raise TypeError("The error gauge does not know np.average with returned=.")
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    if np.shape(weights) != np.shape(a):
        weights = _along(weights, np.ndim(a), axis)
    scale = np.sum(weights + 0.0 * parts(a)[0], axis=axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / scale


def _along(weights: Any, ndim: int, axis: Any) -> Any:
    shape = [1] * ndim
    shape[axis] = -1
    return weights.reshape(shape)


@function(np.prod)
def prod(
    a: Gauge, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    initial: Any = None, where: Any = True,
) -> Gauge:  # fmt: skip
    """Multiply halves with each other until one is left."""
    _float_only("prod", dtype, out)
    a = a if where is True else _where(where, a, 1.0)
    first, shape = _first(a, axis, keepdims)
    if not len(first):
        return gauge(np.ones(shape)) * (1.0 if initial is None else initial)  # type: ignore[return-value]
    while len(first) > 1:
        half = len(first) // 2
        product = first[:half] * first[half : 2 * half]
        first = _joined([product, first[2 * half :]]) if len(first) % 2 else product  # type: ignore[assignment]
    found = first[0].reshape(shape)
    return found if initial is None else found * initial  # type: ignore[return-value]


def _first(a: Gauge, axis: Any, keepdims: bool) -> tuple[Gauge, tuple[int, ...]]:
    """Return the array with what is reduced as its only first axis, and the result's shape."""
    axes = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = [i % a.ndim for i in axes]
    kept = [i for i in range(a.ndim) if i not in reduced]
    shape = tuple(1 if i in reduced else n for i, n in enumerate(a.shape))
    first = a.transpose(*reduced, *kept)
    rows = int(np.prod([a.shape[i] for i in reduced], dtype=int))
    first = first.reshape(rows, *(a.shape[i] for i in kept))
    return first, shape if keepdims else tuple(a.shape[i] for i in kept)


def _joined(arrays: list[Any]) -> Any:
    return np.concatenate(arrays)


def _where(condition: Any, a: Any, b: Any) -> Gauge:
    return np.where(condition, a, b)  # type: ignore[return-value]


@function(np.cumsum)
def cumsum(a: Gauge, axis: Any = None, dtype: Any = None, out: None = None) -> Gauge:
    """As sums, and no less than the roundings of the partial sums one after the other."""
    _float_only("cumsum", dtype, out)
    a, axis = (a.ravel(), 0) if axis is None else (a, axis)
    terms = _along(np.arange(1.0, a.shape[axis] + 1), a.ndim, axis)
    found = summed(lambda x: np.cumsum(x, axis=axis), a, terms)
    if setting().sketch is None:
        chain = np.cumsum(np.square(found.v), axis=axis)
        found = owning(found.v, found._e2 + chain)
    return found


@function(np.cumprod)
def cumprod(a: Gauge, axis: Any = None, dtype: Any = None, out: None = None) -> Gauge:
    _float_only("cumprod", dtype, out)
    a, axis = (a.ravel(), 0) if axis is None else (a, axis)
    return accumulated(np.multiply, a, axis)


def accumulated(ufunc: np.ufunc, a: Gauge, axis: int) -> Gauge:
    """Apply a ufunc of two to each element and what came of those before."""
    rows: Any = np.moveaxis(a, axis, 0)  # type: ignore[type-var]
    if not len(rows):
        return a.copy()
    found: list[Any] = [rows[0]]
    for i in range(1, len(rows)):
        found.append(rule_for(ufunc)(found[-1], rows[i]))
    return np.stack(found, axis=axis)  # type: ignore[return-value]


def _extreme(arg: Callable, larger: np.ufunc) -> Callable:
    def pick(
        a: Gauge, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None,
        where: Any = True,
    ) -> Gauge:  # fmt: skip
        """Move the winner's error; a rival within rounding of it may win on the other side."""
        _float_only("max", None, out)
        if where is not True:
            a = _where(where, a, initial)
        if initial is not None:
            if not a.size:
                return Gauge(arg(a.v, axis=axis, keepdims=keepdims, initial=initial))
            return rule_for(larger)(pick(a, axis, keepdims=keepdims), initial)
        v = arg(a.v, axis=axis, keepdims=True)
        if is_exact(a._e2):
            return Gauge(arg(a.v, axis=axis, keepdims=keepdims))
        if setting().sketch is not None:
            return Gauge(arg(a.v, axis=axis, keepdims=keepdims), _winners(a, v, axis, keepdims))
        e2 = spread(a._e2, a.v.shape)
        rivals = reached(a.v - v, np.sqrt(np.max(e2, axis=axis, keepdims=True)))
        worst = np.max(np.where(rivals | (a.v == v), e2, 0.0), axis=axis, keepdims=keepdims)
        return Gauge(v.reshape(np.shape(worst)), worst)

    return pick


def _winners(a: Gauge, v: Any, axis: Any, keepdims: bool) -> Any:
    """The mean error of the winners, in a sketch."""
    winning = a.v == v
    errors = np.sum(np.where(winning, a._e2, 0.0), axis=axis, keepdims=keepdims)
    return errors / np.sum(winning, axis=axis, keepdims=keepdims)


largest = function(np.max, np.amax)(_extreme(np.max, np.maximum))
smallest = function(np.min, np.amin)(_extreme(np.min, np.minimum))


@function(np.ptp)
def _ptp(a: Gauge, axis: Any = None, out: None = None, keepdims: bool = False) -> Gauge:
    return largest(a, axis, out, keepdims) - smallest(a, axis, out, keepdims)


@function(np.linalg.norm)
def norm(x: Gauge, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Vector norms, and those of a matrix that need no singular values."""
    axes = axis if isinstance(axis, tuple) else None if axis is None else (axis,)
    ndim = x.ndim if axes is None else len(axes)
    if ord is None or (ndim == 1 and ord == 2) or (ndim == 2 and ord == "fro"):
        return np.sqrt(np.sum(np.square(x), axis=axes, keepdims=keepdims))
    size = np.abs(x)
    if ndim == 1:
        if ord in (np.inf, -np.inf):
            return (np.max if ord > 0 else np.min)(size, axis=axes, keepdims=keepdims)
        if ord == 0:
            return np.sum(x.v != 0, axis=axes, keepdims=keepdims).astype(np.float64)
        if ord == 1:
            return np.sum(size, axis=axes, keepdims=keepdims)
        if isinstance(ord, int | float):
            return np.sum(size**ord, axis=axes, keepdims=keepdims) ** (1.0 / ord)
    if ndim == 2 and ord in (1, -1, np.inf, -np.inf):
        over, of = (-2, -1) if axes is None else axes
        over, of = (over, of) if abs(ord) == 1 else (of, over)
        sums = np.sum(size, axis=over, keepdims=True)
        found = (np.max if ord > 0 else np.min)(sums, axis=of, keepdims=True)
        return found if keepdims else np.squeeze(found, axis=(over, of))
    raise TypeError(f"The error gauge does not know np.linalg.norm with ord={ord!r}, axis={axis}.")


# the methods of ufuncs


@method("reduce", np.add)
def _add_reduce(_: np.ufunc, a: Gauge, axis: Any = 0, **kwargs: Any) -> Gauge:
    return np.sum(a, axis=axis, **kwargs)  # type: ignore[return-value]


@method("reduce", np.multiply)
def _multiply_reduce(_: np.ufunc, a: Gauge, axis: Any = 0, **kwargs: Any) -> Gauge:
    return np.prod(a, axis=axis, **kwargs)  # type: ignore[return-value]


@method("reduce", np.maximum, np.minimum)
def _extreme_reduce(
    ufunc: np.ufunc, a: Gauge, axis: Any = 0, dtype: Any = None, **kwargs: Any
) -> Gauge:
    _float_only(ufunc.__name__, dtype, None)
    return (np.max if ufunc is np.maximum else np.min)(a, axis=axis, **kwargs)  # type: ignore[return-value]


@method("reduce", None)
def _reduce(
    ufunc: np.ufunc, a: Gauge, axis: Any = 0, dtype: Any = None, keepdims: bool = False
) -> Gauge:
    _float_only(ufunc.__name__, dtype, None)
    first, shape = _first(a, axis, keepdims)
    return accumulated(ufunc, first, 0)[-1].reshape(shape)


@method("accumulate", None)
def _accumulate(ufunc: np.ufunc, a: Gauge, axis: int = 0, dtype: Any = None) -> Gauge:
    _float_only(ufunc.__name__, dtype, None)
    return np.cumsum(a, axis=axis) if ufunc is np.add else accumulated(ufunc, a, axis)  # type: ignore[return-value]


@method("reduceat", np.add)
def _reduceat(ufunc: np.ufunc, a: Gauge, indices: Any, axis: int = 0, dtype: Any = None) -> Gauge:
    _float_only("add.reduceat", dtype, None)
    ones = np.ones(a.shape[axis])
    terms = _along(np.add.reduceat(ones, indices), a.ndim, axis)
    return summed(lambda x: np.add.reduceat(x, indices, axis=axis), a, terms)


@method("at", np.add)
def _add_at(ufunc: np.ufunc, a: Any, indices: Any, b: Any) -> None:
    """Add into places that may repeat: a sum for each place of what it held and what comes."""
    _at(a, indices, b, np.add)


@method("at", np.subtract)
def _subtract_at(ufunc: np.ufunc, a: Any, indices: Any, b: Any) -> None:
    _at(a, indices, b, np.subtract)


def _at(a: Any, indices: Any, b: Any, ufunc: np.ufunc) -> None:
    if not isinstance(a, Gauge):
        raise TypeError(
            f"np.{ufunc.__name__}.at cannot write errors into an ordinary array: allocate it with "
            "np.zeros_like(x, shape=…), where x is an array that the code was given."
        )
    bv, be = parts(b)
    terms = np.zeros(a.shape)
    np.add.at(terms, indices, 1.0)
    own = np.square(a.v)
    np.add.at(own, indices, np.square(bv))
    own *= np.where(terms > 0, terms + 1.0, 0.0) * setting().rounding
    sign = ufunc if setting().sketch is not None else np.add
    ufunc.at(a.v, indices, bv)
    if setting().sketch is not None:
        own = erring(a.v, 0.0, "sum", size=np.sqrt(own))._e2 * (terms > 0)
    e2 = a.writable()
    sign.at(e2, indices, be)
    e2 += own


@method("outer", None)
def _outer(ufunc: np.ufunc, a: Any, b: Any) -> Gauge:
    (av, _), (bv, _) = parts(a), parts(b)
    return rule_for(ufunc)(a.reshape(*np.shape(av), *(1,) * np.ndim(bv)), b)
