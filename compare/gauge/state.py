"""What gauged programs compute in, for as long as a `with` statement lasts; per thread and task."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np


class Format(NamedTuple):
    """What rounding to a dtype is like.

    Args:
        name: torch's.
        unit: u, the unit roundoff.
        tiny: the smallest normal number.
        lost: what is lost near zero: programs may flush what is below tiny; of float16 torch keeps
            it, so that it is half the distance of two such numbers.
        largest: the largest finite number.
        k: how many times the error of a run two correct programs may differ by.
        serial: the sums of products that torch adds up in this very format, by function.
    """

    name: str
    unit: float
    tiny: float
    lost: float
    largest: float
    k: float
    serial: tuple[str, ...] = ()

    @property
    def half(self) -> bool:
        """True if NumPy has no arithmetic in it: the hand-written side runs in float64."""
        return self.unit > SINGLE

    @property
    def sums(self) -> float:
        """The square of one rounding inside a sum, which torch keeps in float32, in this u.

        It counts as it does in float32, with that K.
        """
        return (FORMATS["float32"].k * SINGLE / (self.k * self.unit)) ** 2 if self.half else 1.0

    def tolerance(self, error: Any) -> np.ndarray:
        """Return K (u E + 4 lost)."""
        return self.k * (self.unit * np.asarray(error) + 4 * self.lost)


SINGLE = 2.0**-24
HALF_K = 4.0  # up to 16 equal roundings, each at its worst and all of one sign
TINY = 2.0**-126
FORMATS = {
    "float64": Format("float64", 2.0**-53, 2.0**-1022, 2.0**-1022, sys.float_info.max, 256.0),
    "float32": Format("float32", SINGLE, TINY, TINY, (2 - 2.0**-23) * 2.0**127, 256.0),
    "float16": Format("float16", 2.0**-11, 2.0**-14, 2.0**-25, 65504.0, HALF_K),
    "bfloat16": Format("bfloat16", 2.0**-8, TINY, TINY, (2 - 2.0**-7) * 2.0**127, HALF_K),
}


def format_of(dtype: Any) -> Format:
    """Return the format of a NumPy dtype, or the one given."""
    return dtype if isinstance(dtype, Format) else FORMATS[np.dtype(dtype).name]


class Doubts:
    """Counts the answers of comparisons that rounding may turn.

    Args:
        error: what each of them is off by, 1 being the other answer.
    """

    def __init__(self, error: float) -> None:
        self.error, self.count = error, 0


class Setting(NamedTuple):
    """How rounding errors are counted.

    Args:
        roundoff: u of the programs that are gauged.
        flush_squared: (tiny/u)², what flushing a subnormal to zero adds per operation.
        squares: what E² is kept in.
        wide: whether that is extended precision.
        sketch: a sketch's number: gauge arrays then carry signed errors (see `correlated`).
        ulps: what a library function errs by, in roundings.
        rounding: the square of one operation's rounding, in u².
        sums: the square of one rounding inside a sum of products, in u².
        once: whether a sum is rounded once more when it is done: it was kept in more digits.
        partial: the square of one rounding of a partial sum, in u², per term.
        serial: the functions whose sums are kept in u all the same.
        k: how many times its error a number may be off.
        epsilon: of the programs, for code that asks; 0: that of the unit roundoff.
        far: whether errors may be K u E, all that is allowed, and not just about u E.
        doubts: what counts the comparisons that rounding may turn, if they are to say so.
    """

    roundoff: float = 2.0**-53
    flush_squared: Any = 0.0
    squares: type = np.float64
    wide: bool = False
    sketch: int | None = None
    ulps: float = 4.0
    rounding: float = 1.0
    sums: float = 1.0
    once: bool = False
    partial: float = 0.0
    serial: tuple[str, ...] = ()
    k: float = 256.0
    epsilon: float = 0.0
    far: bool = False
    doubts: Doubts | None = None

    @property
    def reach(self) -> float:
        """K u: by so many of its E a number may differ between two correct programs."""
        return self.k * self.roundoff

    @property
    def second(self) -> float:
        """What the product of two squared errors counts in (a + d) (b + e): there is a d e."""
        return (self.roundoff * (self.k if self.far else 1.0)) ** 2


_current: ContextVar[Setting] = ContextVar("the gauge's setting", default=Setting())  # noqa: B039
setting = _current.get


def reached(distance: Any, error: Any) -> Any:
    """Whether errors as large as is allowed go as far as a distance.

    A nan for an error is one of which nothing is known (infinity times zero): it goes anywhere.
    """
    found = np.abs(distance) <= setting().reach * error
    if np.isnan(np.max(error, initial=0.0)):
        found |= np.isnan(error) & np.isfinite(distance)
    return found


@contextmanager
def gauging(dtype: np.dtype | Format, *, wide: bool = False) -> Iterator[None]:
    """Gauge for programs that run in `dtype`; silences overflow.

    In float64 the square of tiny/u is itself far below the smallest number, so it is zero unless
    squares are kept in extended precision.

    Args:
        dtype: float32 or float64; or the format of a half, in which torch computes every function
            in float32 and rounds its result.
        wide: keep squares in extended precision, whose range holds the squares of all float64
            numbers where the platform has it (x86): much slower, for values beyond 1e±150.
    """
    squares = np.longdouble if wide else np.float64
    return _within(dtype, squares, setting().sketch)


@contextmanager
def as_far_as_allowed() -> Iterator[None]:
    """Count products of errors that are as large as is allowed, as an answer in doubt is."""
    with _set(setting()._replace(far=True)):
        yield


@contextmanager
def doubting(doubts: Doubts) -> Iterator[None]:
    """Let comparisons be in doubt here: their answers are 0 or 1, with an error."""
    with _set(setting()._replace(doubts=doubts)):
        yield


@contextmanager
def sketching(dtype: np.dtype | Format, number: int) -> Iterator[None]:
    """Follow the errors of one sketch in gauge arrays; equal numbers give equal signs."""
    return _within(dtype, np.float64, number)


@contextmanager
def rounding_as(format: Format) -> Iterator[None]:
    """Count what is done here as roundings of another format, still in the u of the run."""
    if format.unit == setting().roundoff:
        yield
        return
    outer = setting()
    ratio = (format.k * format.unit / (outer.k * outer.roundoff)) ** 2
    flush_squared = (outer.squares(format.lost) / outer.roundoff) ** 2
    made = outer._replace(flush_squared=flush_squared, ulps=4.0, rounding=ratio, sums=ratio)
    with _set(made._replace(once=False, serial=(), epsilon=2 * format.unit)):
        yield


@contextmanager
def adding_in_half(share: float) -> Iterator[None]:
    """Count a share of every sum's terms as added in u itself, one after the other."""
    outer = setting()
    with _set(outer._replace(sums=max(outer.sums, share), partial=share)):
        yield


@contextmanager
def _set(made: Setting) -> Iterator[None]:
    before = _current.set(made)
    try:
        yield
    finally:
        _current.reset(before)


def _within(dtype: np.dtype | Format, squares: type, sketch: int | None) -> Iterator[None]:
    format = format_of(dtype)
    flush_squared = (squares(format.lost) / format.unit) ** 2
    wide, far = squares is np.longdouble, setting().far
    made = Setting(format.unit, flush_squared, squares, wide, sketch, far=far)
    if format.half:
        made = made._replace(ulps=1.0, sums=format.sums, once=True, serial=format.serial)
    made = made._replace(k=format.k)
    with _set(made), np.errstate(all="ignore"):
        yield
