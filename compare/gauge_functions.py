"""What the error gauge knows of NumPy's functions: reductions sum errors, the rest moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compare.gauge import Gauge, Unit, parts
from compare.gauge_rules import apply_ufunc

FUNCTIONS: dict[Any, Callable] = {}


def implements(*functions: Any) -> Callable:
    def register(ours: Callable) -> Callable:
        FUNCTIONS.update(dict.fromkeys(functions, ours))
        return ours

    return register


def moved(move: Callable) -> Callable:
    """Lift a NumPy function that rearranges the elements of its first argument."""
    return lambda a, *args, **kwargs: a._moved(lambda x: move(x, *args, **kwargs))


for _move in (np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze,
              np.ravel, np.copy, np.take_along_axis, np.take, np.flip, np.tile, np.repeat,
              np.tril, np.triu):  # fmt: skip
    FUNCTIONS[_move] = moved(_move)
for _ask in (np.shape, np.ndim, np.size, np.argmax, np.argmin, np.argsort, np.any, np.all,
             np.count_nonzero, np.zeros_like, np.ones_like, np.full_like, np.empty_like,
             np.iscomplexobj):  # fmt: skip
    FUNCTIONS[_ask] = (lambda f: lambda a, *args, **kw: _exact(f(parts(a)[0], *args, **kw)))(_ask)


def _exact(result: Any) -> Any:
    """Wrap fresh float arrays (zeros_like, …), so that gauge elements can be written into them."""
    floats = isinstance(result, np.ndarray) and result.dtype == np.float64
    return Gauge(result) if floats else result


@implements(np.sum)
def _sum(a: Gauge, axis: Any = None, keepdims: bool = False, **_: Any) -> Gauge:
    """E² = Σ Ei² + n Σ vi² for a sum of n."""
    if Unit.sketch is not None:
        from compare.sketch import total

        return total(a, axis, keepdims)
    v = np.sum(a.v, axis=axis, keepdims=keepdims)
    count = a.v.size // max(np.size(v), 1)
    squares = np.square(a.v, dtype=Unit.squares)
    squares *= float(count)
    squares += a.e2
    return Gauge(v, np.sum(squares, axis=axis, keepdims=keepdims))


@implements(np.mean)
def _mean(a: Gauge, axis: Any = None, keepdims: bool = False, **_: Any) -> Gauge:
    summed = _sum(a, axis, keepdims)
    return summed / float(a.v.size // max(np.size(summed.v), 1))


def _extreme(arg: Callable, larger: np.ufunc) -> Callable:
    def pick(
        a: Gauge, axis: Any = None, keepdims: bool = False, initial: Any = None, **_: Any
    ) -> Gauge:
        """Move the winner's error; a rival within rounding of it may win on the other side."""
        if initial is not None:
            if not a.size:
                return Gauge(arg(a.v, axis=axis, keepdims=keepdims, initial=initial))
            return apply_ufunc(larger, "__call__", (pick(a, axis, keepdims), initial), {})
        v = arg(a.v, axis=axis, keepdims=True)
        if Unit.sketch is not None:
            return Gauge(arg(a.v, axis=axis, keepdims=keepdims), _winners(a, v, axis, keepdims))
        e2 = np.broadcast_to(a.e2, a.v.shape)
        rivals = np.square(a.v - v) <= np.square(2.0**-15) * np.max(e2, axis=axis, keepdims=True)
        worst = np.max(np.where(rivals | (a.v == v), e2, 0.0), axis=axis, keepdims=keepdims)
        return Gauge(v.reshape(np.shape(worst)), worst)

    return pick


def _winners(a: Gauge, v: Any, axis: Any, keepdims: bool) -> Any:
    """The mean error of the winners, in a sketch."""
    winning = a.v == v
    errors = np.sum(np.where(winning, a.e2, 0.0), axis=axis, keepdims=keepdims)
    return errors / np.sum(winning, axis=axis, keepdims=keepdims)


FUNCTIONS[np.max] = FUNCTIONS[np.amax] = _extreme(np.max, np.maximum)
FUNCTIONS[np.min] = FUNCTIONS[np.amin] = _extreme(np.min, np.minimum)
REDUCTIONS: dict[Any, Callable] = {
    np.add: lambda a, axis=0, keepdims=False, **_: _sum(a, axis, keepdims),
    np.maximum: lambda a, axis=0, keepdims=False, **_: FUNCTIONS[np.max](a, axis, keepdims),
    np.minimum: lambda a, axis=0, keepdims=False, **_: FUNCTIONS[np.min](a, axis, keepdims),
}


@implements(np.where)
def _where(condition: Any, a: Any, b: Any) -> Gauge:
    (av, ae), (bv, be) = parts(a), parts(b)
    condition = parts(condition)[0]
    return Gauge(np.where(condition, av, bv), np.where(condition, ae, be))


@implements(np.concatenate)
def _concatenate(arrays: Any, axis: int = 0) -> Gauge:
    return _joined(np.concatenate, arrays, axis)


@implements(np.stack)
def _stack(arrays: Any, axis: int = 0) -> Gauge:
    return _joined(np.stack, arrays, axis)


def _joined(join: Callable, arrays: Any, axis: int) -> Gauge:
    pairs = [parts(a) for a in arrays]
    errors = [np.broadcast_to(e2, np.shape(v)) for v, e2 in pairs]
    return Gauge(join([v for v, _ in pairs], axis=axis), join(errors, axis=axis))


@implements(np.split)
def _split(a: Gauge, sections: Any, axis: int = 0) -> list[Gauge]:
    pieces = np.split(a.v, sections, axis=axis)
    errors = np.split(np.broadcast_to(a.e2, a.v.shape), sections, axis=axis)
    return [Gauge(v, e2) for v, e2 in zip(pieces, errors, strict=True)]


@implements(np.broadcast_to)
def _broadcast_to(a: Gauge, shape: Any) -> Gauge:
    return a._moved(lambda x: np.broadcast_to(x, shape))


@implements(np.pad)
def _pad(a: Gauge, width: Any, mode: str = "constant", constant_values: float = 0.0) -> Gauge:
    e2 = np.pad(np.broadcast_to(a.e2, a.v.shape), width)
    return Gauge(np.pad(a.v, width, mode=mode, constant_values=constant_values), e2)  # type: ignore[call-overload]


@implements(np.put_along_axis)
def _put_along_axis(a: Gauge, indices: Any, values: Any, axis: int) -> None:
    v, e2 = parts(values)
    a.e2 = a.full_e2()
    np.put_along_axis(a.v, indices, v, axis)
    np.put_along_axis(a.e2, indices, e2, axis)


@implements(np.clip)
def _clip(a: Gauge, low: Any = None, high: Any = None, **_: Any) -> Gauge:
    a = a if low is None else apply_ufunc(np.maximum, "__call__", (a, low), {})
    return a if high is None else apply_ufunc(np.minimum, "__call__", (a, high), {})


@implements(np.outer)
def _outer(a: Any, b: Any) -> Gauge:
    return a.reshape(-1, 1) * b.reshape(1, -1)


@implements(np.dot)
def _dot(a: Any, b: Any) -> Gauge:
    return a * b if 0 in (np.ndim(parts(a)[0]), np.ndim(parts(b)[0])) else a @ b
