"""Numbers as balls: a midpoint, a radius, and the slope along a direction, all proven enclosures.

A `Ball` is an element of a NumPy object array: `np.exp` and the like call the element's method of
that name. The value is FLINT's `arb`, whose radius bounds every rounding error. A ball that moves
along a direction also carries its slope, as the second term of FLINT's truncated power series: no
derivative is written down in this project, so backward is judged by nobody's formula but FLINT's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb, arb_series

from compare.witness.decisions import current

Operation = Callable[[Any, Any], Any]


class NotBallsError(TypeError):
    """The code would turn a ball into a float, and lose its digits."""


def _arithmetic(op: Operation) -> tuple[Operation, Operation]:
    """Return an operator and its reflection: number on the left, ball on the right."""

    def forward(self: Ball, other: Any) -> Any:
        b = as_ball(other)
        return NotImplemented if b is None else _combined(op, self, b)

    def reflected(self: Ball, other: Any) -> Any:
        b = as_ball(other)
        return NotImplemented if b is None else _combined(op, b, self)

    return forward, reflected


def _comparison(holds: Callable[[int], bool], same: bool) -> Operation:
    """Return a comparison that holds for some signs of a - b; `same`: of a ball with itself."""

    def compare(self: Ball, other: Any) -> Any:
        if self is other:
            return same
        b = as_ball(other)
        return NotImplemented if b is None else holds(current().compare(self, b))

    return compare


class Ball:
    """A real number within a proven radius, and its slope along a direction (None: it is fixed)."""

    __slots__ = ("slope", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: arb, slope: arb | None = None) -> None:
        self.value, self.slope = value, slope

    def __repr__(self) -> str:
        return str(self.value.str(6, radius=False))

    __add__, __radd__ = _arithmetic(operator.add)
    __sub__, __rsub__ = _arithmetic(operator.sub)
    __mul__, __rmul__ = _arithmetic(operator.mul)
    __truediv__, __rtruediv__ = _arithmetic(operator.truediv)
    __pow__, __rpow__ = _arithmetic(lambda a, b: _power(a, b))

    def __neg__(self) -> Ball:
        return Ball(-self.value, None if self.slope is None else -self.slope)

    def __pos__(self) -> Ball:
        return self

    def __abs__(self) -> Ball:
        return -self if self < 0 else self

    __lt__ = _comparison(lambda sign: sign < 0, False)
    __le__ = _comparison(lambda sign: sign <= 0, True)
    __gt__ = _comparison(lambda sign: sign > 0, False)
    __ge__ = _comparison(lambda sign: sign >= 0, True)
    __eq__ = _comparison(lambda sign: sign == 0, True)
    __ne__ = _comparison(lambda sign: sign != 0, False)

    def _refuse(self) -> Any:
        raise NotBallsError(
            "the code turns a ball into a plain float (np.zeros into which results are written, "
            ".astype(float), math.exp, if x: …), which would lose its digits. Allocate with "
            "np.zeros_like, and use NumPy's functions."
        )

    __float__ = __int__ = __bool__ = __complex__ = __index__ = _refuse

    if TYPE_CHECKING:  # the methods of FUNCTIONS are added below

        def __getattr__(self, name: str) -> Any: ...

    @property
    def real(self) -> Ball:
        return self

    def conjugate(self) -> Ball:
        return self


def as_ball(x: Any) -> Any:
    """Return a number as an exact ball; None for what is no number."""
    if isinstance(x, Ball):
        return x
    if isinstance(x, float):  # np.float64 is one
        return Ball(arb(float(x)))
    if isinstance(x, bool | int | np.integer | np.bool_):
        return Ball(arb(int(x)))
    if isinstance(x, np.floating):
        return Ball(arb(float(x)))
    return Ball(x) if isinstance(x, arb) else None


def _series(x: Ball) -> arb_series:
    return arb_series([x.value, 0 if x.slope is None else x.slope], 2)


def _slope(compute: Callable[[], arb_series]) -> arb:
    """Return the second term; nan where there is none (a division by 0, a root at 0)."""
    try:
        series = compute()
    except (ValueError, ZeroDivisionError):
        return arb("nan")
    return series[1] if series.prec >= 2 else arb("nan")


def _combined(op: Operation, a: Ball, b: Ball) -> Ball:
    value = op(a.value, b.value)
    if a.slope is None and b.slope is None:
        return Ball(value)
    return Ball(value, _slope(lambda: op(_series(a), _series(b))))


def _power(a: Any, b: Any) -> Any:
    """Return a to the b: of two series by exp and log, unless the exponent is a constant."""
    if not isinstance(b, arb_series):
        return a**b
    return a ** b[0] if b[1] == 0 else (b * a.log()).exp()


Series = Callable[[Any], Any]
FUNCTIONS: dict[str, tuple[str, Series]] = {  # NumPy's name: arb's name, and the power series
    "exp": ("exp", lambda s: s.exp()),
    "log": ("log", lambda s: s.log()),
    "sqrt": ("sqrt", lambda s: s.sqrt()),
    "sin": ("sin", lambda s: s.sin()),
    "cos": ("cos", lambda s: s.cos()),
    "tan": ("tan", lambda s: s.tan()),
    "arcsin": ("asin", lambda s: s.asin()),
    "arccos": ("acos", lambda s: s.acos()),
    "arctan": ("atan", lambda s: s.atan()),
    "erf": ("erf", lambda s: s.erf()),
    "erfc": ("erfc", lambda s: s.erfc()),
    "gamma": ("gamma", lambda s: s.gamma()),
    "gammaln": ("lgamma", lambda s: s.lgamma()),
    "expm1": ("expm1", lambda s: s.exp()),  # the constant -1 has no slope
    "log1p": ("log1p", lambda s: (s + 1).log()),
    "sinh": ("sinh", lambda s: (s.exp() - (-s).exp()) / 2),
    "cosh": ("cosh", lambda s: (s.exp() + (-s).exp()) / 2),
    "arcsinh": ("asinh", lambda s: (s + (s * s + 1).sqrt()).log()),
    "arccosh": ("acosh", lambda s: (s + (s * s - 1).sqrt()).log()),
    "arctanh": ("atanh", lambda s: ((1 + s) / (1 - s)).log() / 2),
    "tanh": ("tanh", lambda s: 1 - 2 / ((2 * s).exp() + 1)),
}


def _normal(s: Any) -> Any:
    """Return the normal distribution function of a series."""
    return (-s * arb(2).rsqrt()).erfc() / 2


COMPOSED: dict[str, Series] = {  # what arb has no name for
    "ndtr": _normal,
    "log_ndtr": lambda s: _normal(s).log(),
    "erfcx": lambda s: (s * s).exp() * s.erfc(),
    "entr": lambda s: -s * s.log(),
}
INVERSE: dict[str, tuple[Series, Series]] = {  # the value, and the function that it inverts
    "erfinv": (lambda v: v.erfinv(), lambda s: s.erf()),
    "ndtri": (lambda v: (2 * v - 1).erfinv() * arb(2).sqrt(), _normal),
}


def _composed(series: Series) -> Callable[[Ball], Ball]:
    def apply(self: Ball) -> Ball:
        found = series(_series(self))
        return Ball(found[0], None if self.slope is None else _slope(lambda: found))

    return apply


def _inverse(value: Series, function: Series) -> Callable[[Ball], Ball]:
    def apply(self: Ball) -> Ball:
        y = value(self.value)
        rise = function(arb_series([y, 1], 2))[1]
        return Ball(y, None if self.slope is None else self.slope / rise)

    return apply


def polygamma(self: Ball, n: int) -> Ball:
    """Return the n-th derivative of digamma: a coefficient of log Γ's series, (n + 1)! times it."""
    terms = arb_series([self.value, 1], n + 3).lgamma()
    value, rise = (math.factorial(k) * terms[k] for k in (n + 1, n + 2))
    return Ball(value, None if self.slope is None else self.slope * rise)


def _method(name: str, series: Series) -> Callable[[Ball], Ball]:
    def apply(self: Ball) -> Ball:
        value = getattr(self.value, name)()
        return Ball(value, None if self.slope is None else _slope(lambda: series(_series(self))))

    return apply


for _name, (_arb_name, _rule) in FUNCTIONS.items():
    setattr(Ball, _name, _method(_arb_name, _rule))
for _name, _rule in COMPOSED.items():
    setattr(Ball, _name, _composed(_rule))
for _name, _pair in INVERSE.items():
    setattr(Ball, _name, _inverse(*_pair))
Ball.polygamma = polygamma  # type: ignore[attr-defined]
Ball.psi = lambda self: polygamma(self, 0)  # type: ignore[attr-defined]
