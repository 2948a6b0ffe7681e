"""Arrays of balls: NumPy's own object arrays, with the ufuncs that have no loop for objects."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from flint import arb

from compare.witness.balls import Ball, as_ball

FILLED = (np.ones_like, np.zeros_like, np.full_like)
PLAIN: dict[Any, type] = {
    np.isfinite: bool,
    np.isnan: bool,
    np.isinf: bool,
    np.floor: float,
    np.rint: float,
}  # exact answers


class BallArray(np.ndarray):
    """An object array of balls that also answers scipy.special's erf and expit, isfinite, floor."""

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple = (), **kwargs: Any
    ) -> Any:
        arguments = tuple(_plain(x) for x in inputs)
        if out:
            kwargs["out"] = tuple(_plain(x) for x in out)
        own = _extra().get(ufunc)
        if own is not None and method == "__call__" and not out:
            found = np.frompyfunc(own, ufunc.nin, 1)(*arguments)
            return np.asarray(found, PLAIN[ufunc]) if ufunc in PLAIN else _wrapped(found)
        result = getattr(ufunc, method)(*arguments, **kwargs)
        return out[0] if out else _wrapped(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        found = super().__array_function__(func, types, args, kwargs)
        if func in FILLED and np.ndim(found):
            found = np.frompyfunc(as_ball, 1, 1)(_plain(found))  # a third of int 1 is a float
        return _wrapped(found)


def balls(array: np.ndarray) -> BallArray:
    """Return an array of floats as exact balls."""
    lifted = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        lifted[index] = Ball(arb(float(array[index])))
    return lifted.view(BallArray)


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, BallArray) else x


def _wrapped(x: Any) -> Any:
    return x.view(BallArray) if type(x) is np.ndarray and x.dtype == object else x


@cache
def _extra() -> dict[Any, Callable[..., Any]]:
    """Return what NumPy cannot do on objects by itself, element by element."""
    from scipy import special

    return {
        special.erf: lambda x: as_ball(x).erf(),
        special.erfc: lambda x: as_ball(x).erfc(),
        special.gamma: lambda x: as_ball(x).gamma(),
        special.expit: lambda x: 1 / (1 + (-as_ball(x)).exp()),
        special.log_expit: lambda x: -(-as_ball(x)).exp().log1p(),
        np.isfinite: lambda x: as_ball(x).value.is_finite(),
        np.isnan: lambda x: as_ball(x).value.is_nan(),
        np.isinf: lambda x: not (as_ball(x).value.is_finite() or as_ball(x).value.is_nan()),
        np.rint: lambda x: _floor(as_ball(x) + 0.5),  # no tie between two whole numbers
        np.arctan2: _angle,
        np.floor: _floor,
        np.logaddexp: lambda a, b: (as_ball(a).exp() + as_ball(b).exp()).log(),
    }


def _angle(y: Any, x: Any) -> Ball:
    """Return the angle of a point, whose slope is that of arctan y/x, wherever it lies."""
    a, b = as_ball(y), as_ball(x)
    return Ball(arb.atan2(a.value, b.value), (a / b).arctan().slope)


def _floor(x: Any) -> int:
    """Return ⌊x⌋ of a ball that no integer lies in: its comparisons say so, or raise."""
    ball = as_ball(x)
    below = int(ball.value.mid().floor().unique_fmpz())
    return below - 1 if ball < below else below + int(ball >= below + 1)
