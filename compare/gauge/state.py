"""What gauged programs compute in, for as long as a `with` statement lasts; per thread and task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np


class Setting(NamedTuple):
    """How rounding errors are counted.

    Args:
        roundoff: u of the programs that are gauged.
        flush_squared: (tiny/u)², what flushing a subnormal to zero adds per operation.
        squares: what E² is kept in.
        wide: whether that is extended precision.
        sketch: a sketch's number: gauge arrays then carry signed errors (see `correlated`).
    """

    roundoff: float = 2.0**-53
    flush_squared: Any = 0.0
    squares: type = np.float64
    wide: bool = False
    sketch: int | None = None


_current: ContextVar[Setting] = ContextVar("the gauge's setting", default=Setting())  # noqa: B039
setting = _current.get


@contextmanager
def gauging(dtype: np.dtype, *, wide: bool = False) -> Iterator[None]:
    """Gauge for programs that run in `dtype`; silences overflow.

    In float64 the square of tiny/u is itself far below the smallest number, so it is zero unless
    squares are kept in extended precision.

    Args:
        dtype: float32 or float64.
        wide: keep squares in extended precision, whose range holds the squares of all float64
            numbers where the platform has it (x86): much slower, for values beyond 1e±150.
    """
    return _within(dtype, np.longdouble if wide else np.float64, setting().sketch)


@contextmanager
def sketching(dtype: np.dtype, number: int) -> Iterator[None]:
    """Follow the errors of one sketch in gauge arrays; equal numbers give equal signs."""
    return _within(dtype, np.float64, number)


def _within(dtype: np.dtype, squares: type, sketch: int | None) -> Iterator[None]:
    info = np.finfo(dtype)
    roundoff = float(info.eps) / 2
    flush_squared = (squares(info.tiny) / roundoff) ** 2
    before = _current.set(
        Setting(roundoff, flush_squared, squares, squares is np.longdouble, sketch)
    )
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _current.reset(before)
