"""Functions that move, join, pick and order elements: each takes its error along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from compare.gauge.array import Gauge, is_exact, parts, rule_for, spread
from compare.gauge.registry import function
from compare.gauge.state import reached, setting


def _lifted(move: Callable) -> Callable:
    """Lift a NumPy function that rearranges the elements of its first argument."""

    def moved(a: Any, *args: Any, **kwargs: Any) -> Gauge:
        return a.moved(lambda x: move(x, *args, **kwargs))

    return moved


for _move in (np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.expand_dims,
              np.squeeze, np.ravel, np.copy, np.take_along_axis, np.take, np.flip, np.fliplr,
              np.flipud, np.rot90, np.roll, np.tile, np.repeat, np.tril, np.triu, np.diagonal,
              np.diag, np.broadcast_to, np.atleast_1d, np.atleast_2d, np.delete,
              sliding_window_view):  # fmt: skip
    function(_move)(_lifted(_move))
if hasattr(np, "matrix_transpose"):
    function(np.matrix_transpose)(_lifted(np.matrix_transpose))


def _asked(ask: Callable) -> Callable:
    """Lift a NumPy function whose answer depends on values only."""

    def asked(*args: Any, **kwargs: Any) -> Any:
        return _exact(ask(*(_value(a) for a in args), **{k: _value(v) for k, v in kwargs.items()}))

    return asked


def _value(a: Any) -> Any:
    if isinstance(a, list | tuple) and any(isinstance(x, Gauge) for x in a):
        return type(a)(_value(x) for x in a)
    return parts(a)[0]


def _exact(result: Any) -> Any:
    """Wrap fresh float arrays (zeros_like, …), so that gauge elements can be written into them."""
    floats = isinstance(result, np.ndarray) and result.dtype == np.float64
    return Gauge(result) if floats else result


for _ask in (np.shape, np.ndim, np.size, np.argmax, np.argmin, np.argsort, np.any, np.all,
             np.count_nonzero, np.zeros_like, np.ones_like, np.empty_like, np.searchsorted,
             np.digitize, np.nonzero, np.flatnonzero, np.argwhere, np.isclose, np.allclose,
             np.array_equal, np.iscomplexobj, np.isrealobj, np.lexsort, np.may_share_memory,
             np.shares_memory, np.result_type):  # fmt: skip
    function(_ask)(_asked(_ask))


@function(np.full_like)
def _full_like(a: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    found = _exact(np.full_like(parts(a)[0], parts(fill_value)[0], *args, **kwargs))
    if isinstance(fill_value, Gauge):
        found[...] = fill_value
    return found


@function(np.real)
def _real(a: Gauge) -> Gauge:
    return a


@function(np.where)
def _where(condition: Any, *cases: Any) -> Any:
    """Choose; where the condition is in doubt, the other case may be the right one."""
    condition, doubt = parts(condition)
    if not cases:
        return np.where(condition)
    (av, ae), (bv, be) = (parts(x) for x in cases)
    v = np.where(condition, av, bv)
    if is_exact(ae) and is_exact(be) and is_exact(doubt):
        return Gauge(v)
    squares = np.where(condition, ae, be)
    if not is_exact(doubt):
        turned = doubt * np.square(np.subtract(av, bv)) + np.where(condition, be, ae)
        squares = squares + np.where(doubt > 0, turned, 0.0)  # type: ignore[assignment]
    return Gauge(v, squares)


def _joining(join: Callable) -> Callable:
    """Lift a function that joins a list of arrays."""

    def joined(arrays: Any, *args: Any, **kwargs: Any) -> Gauge:
        pairs = [parts(a) for a in arrays]
        v = join([v for v, _ in pairs], *args, **kwargs)
        if all(is_exact(e2) for _, e2 in pairs):
            return Gauge(v)
        return Gauge(v, join([spread(e2, np.shape(v)) for v, e2 in pairs], *args, **kwargs))

    return joined


for _join in (np.concatenate, np.stack, np.hstack, np.vstack, np.dstack, np.column_stack):
    function(_join)(_joining(_join))


@function(np.append)
def _append(a: Any, values: Any, axis: int | None = None) -> Gauge:
    if axis is None:
        a, values, axis = np.ravel(a), np.ravel(values), 0
    return np.concatenate([a, values], axis=axis)  # type: ignore[return-value]


def _splitting(split: Callable, fixed: int | None = None) -> Callable:
    """Lift a function that cuts an array into views."""

    def pieces(a: Gauge, sections: Any, axis: int = 0) -> list[Gauge]:
        axis = (axis if fixed is None or a.ndim == 1 else fixed) % a.ndim
        places = split(np.arange(a.shape[axis]), sections)
        ends = np.cumsum([len(p) for p in places])
        before = (slice(None),) * axis
        return [a[(*before, slice(end - len(p), end))] for end, p in zip(ends, places, strict=True)]

    return pieces


function(np.split)(_splitting(np.split))
function(np.array_split)(_splitting(np.array_split))
function(np.hsplit)(_splitting(np.split, 1))
function(np.vsplit)(_splitting(np.split, 0))


@function(np.put_along_axis)
def _put_along_axis(a: Any, indices: Any, values: Any, axis: int | None) -> None:
    if not isinstance(a, Gauge):
        raise TypeError(
            "np.put_along_axis cannot write errors into an ordinary array: allocate it with "
            "np.zeros_like(x, shape=…), where x is an array that the code was given."
        )
    v, e2 = parts(values)
    np.put_along_axis(a.v, indices, v, axis)
    if not (is_exact(a._e2) and is_exact(e2)):
        np.put_along_axis(a.writable(), indices, e2, axis)


@function(np.copyto)
def _copyto(dst: Any, src: Any, where: Any = True) -> None:
    if not isinstance(dst, Gauge):
        raise TypeError(
            "np.copyto cannot write errors into an ordinary array: allocate it with "
            "np.zeros_like(x, shape=…), where x is an array that the code was given."
        )
    if where is True:
        dst[...] = src
    else:
        dst.write(src, where)


@function(np.fill_diagonal)
def _fill_diagonal(a: Gauge, val: Any) -> None:
    v, e2 = parts(val)
    np.fill_diagonal(a.v, v)
    if not (is_exact(a._e2) and is_exact(e2)):
        np.fill_diagonal(a.writable(), e2)


@function(np.trace)
def _trace(a: Gauge, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Gauge:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1)  # type: ignore[call-overload]


@function(np.diff)
def _diff(a: Gauge, n: int = 1, axis: int = -1) -> Gauge:
    for _ in range(n):
        rows: Any = np.moveaxis(a, axis, 0)  # type: ignore[type-var]
        a = np.moveaxis(rows[1:] - rows[:-1], 0, axis)
    return a


@function(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    found = a if low is None else rule_for(np.maximum)(a, low)
    found = found if high is None else rule_for(np.minimum)(found, high)
    return a.copy() if found is a else found


@function(np.nan_to_num)
def _nan_to_num(
    x: Gauge, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Gauge:
    if not copy:
        raise TypeError("The error gauge knows np.nan_to_num with copy=True only.")
    v = np.nan_to_num(x.v, nan=nan, posinf=posinf, neginf=neginf)
    return Gauge(v, np.where(np.isfinite(x.v), x._e2, 0.0))


@function(np.sort)
def _sort(a: Gauge, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Gauge:
    """Move errors along; elements within rounding of each other may change places."""
    if axis is None:
        a, axis = a.ravel(), 0
    order = np.argsort(a.v, axis=axis, kind="stable")
    found = a.moved(lambda x: np.take_along_axis(x, order, axis))
    if setting().sketch is not None or is_exact(found._e2):
        return found
    e2 = np.moveaxis(found.writable(), axis, 0)
    gaps = np.diff(np.moveaxis(found.v, axis, 0), axis=0)
    for _ in range(len(gaps)):  # as far as a chain of near ones goes
        most = np.maximum(e2[1:], e2[:-1])
        near = reached(gaps, np.sqrt(most)) & (e2[1:] != e2[:-1])
        if not near.any():
            break
        e2[1:] = np.where(near, most, e2[1:])
        e2[:-1] = np.where(near, np.maximum(most, e2[:-1]), e2[:-1])
    return found


@function(np.median)
def _median(
    a: Gauge, axis: int | None = None, out: None = None, overwrite_input: bool = False,
    keepdims: bool = False,
) -> Gauge:  # fmt: skip
    if isinstance(axis, tuple) or out is not None:
        raise TypeError("The error gauge knows np.median over one axis, or over all.")
    ordered = np.moveaxis(np.sort(a, axis=axis), -1 if axis is None else axis, 0)
    n = len(ordered)
    middle = np.mean(ordered[(n - 1) // 2 : n // 2 + 1], axis=0)  # type: ignore[index]
    if not keepdims:
        return middle  # type: ignore[return-value]
    return middle.reshape((1,) * a.ndim) if axis is None else np.expand_dims(middle, axis)  # type: ignore[return-value]
