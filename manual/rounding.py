"""What a float type's precision decides, asked of an array of any number system.

An array class that computes for another type (an error gauge for float32, say) may answer itself:
by an attribute `__epsilon__` and methods `__bfloat16__` and `__turning__`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

__all__ = ["bfloat16", "computed_in", "machine_epsilon", "standing_for", "turning"]

DIGITS = 8  # binary digits of a bfloat16
_DOUBLE: ContextVar[Any] = ContextVar("double", default=np.float64)  # the type that float64 is


@contextmanager
def standing_for(dtype: Any) -> Iterator[None]:
    """Let float64 stand for another type: what that type's precision decides stays as it is.

    >>> with standing_for(np.float32):
    ...     machine_epsilon(np.zeros(2)) == 2.0**-23
    True
    """
    token = _DOUBLE.set(dtype)
    try:
        yield
    finally:
        _DOUBLE.reset(token)


def machine_epsilon(x: Any) -> float:
    """Return the distance from 1 to the next number of the type that `x` is computed in.

    Exact numbers have none; theirs is that of float64, so that the formulas are the same.

    >>> machine_epsilon(np.zeros(2, np.float32)) == 2.0**-23
    True
    """
    own = getattr(x, "__epsilon__", None)
    if own is not None:
        return float(own)
    double = x.dtype.kind != "f" or x.dtype == np.float64
    return float(np.finfo(_DOUBLE.get() if double else x.dtype).eps)


def computed_in(x: Any) -> np.dtype:
    """Return float32 if `x` is computed in it, for constants to be rounded alike; else float64.

    >>> computed_in(np.zeros(2, np.float32)), computed_in(np.zeros(2, int))
    (dtype('float32'), dtype('float64'))
    """
    single = machine_epsilon(x) == np.finfo(np.float32).eps
    return np.dtype(np.float32 if single else np.float64)


def bfloat16(x: Any) -> Any:
    """Round every element to the eight digits of a bfloat16; exact numbers stay as they are.

    Veltkamp's splitting: with c = 2^(p-8) x in p digits, c - (c - x) is x rounded to 8.

    >>> bfloat16(np.array([1.0, 1.003, 1.005])).tolist()
    [1.0, 1.0, 1.0078125]
    """
    own = getattr(x, "__bfloat16__", None)
    if own is not None:
        return own()
    if x.dtype.kind != "f":
        return x
    c = x * x.dtype.type(2 ** (np.finfo(x.dtype).nmant + 1 - DIGITS))
    return c - (c - x)


def turning(x: Any) -> Any:
    """Return zeros, with the error of x's signs in number systems that carry errors.

    Where rounding may turn a sign, whatever is decided by it may come out the other way: added to
    a sign, or times what the decision is about, this says so and changes nothing.

    >>> turning(np.array([1.0, -2.0])).tolist()
    [0.0, 0.0]
    """
    own = getattr(x, "__turning__", None)
    return np.zeros_like(x) if own is None else own()
