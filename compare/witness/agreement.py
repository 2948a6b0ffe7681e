"""How many digits two enclosures of the same array share, element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, ctx

from compare.witness.balls import as_ball


@dataclass(frozen=True)
class TensorDigits:
    """The proven agreement of one tensor: its worst element.

    Every element differs from its counterpart by at most 10^-digits of the counterpart (of the
    tensor's largest, where the counterpart may be 0). `radius` is the largest radius of the
    differences' enclosures: what is left of the arithmetic's own uncertainty.
    """

    name: str
    elements: int
    digits: float
    radius: float
    worst: str = ""  # the worst element, where they differ for certain

    @property
    def text(self) -> str:
        return f"{self.name}{self.worst}"


def most_digits() -> int:
    """Return how many decimal digits the working precision has."""
    return math.floor(ctx.prec * math.log10(2))


def tensor_digits(name: str, found: Any, expected: Any) -> TensorDigits:
    """Compare `found` with `expected`, both arrays of balls or of exact numbers."""
    found, expected = np.asarray(found, dtype=object), np.asarray(expected, dtype=object)
    if found.shape != expected.shape:
        worst = f" has shape {found.shape}, not {expected.shape}"
        return TensorDigits(name, expected.size, 0.0, math.inf, worst)
    f, e = _values(found), _values(expected)
    largest = max([_lower(x) for x in e], default=arb(0))
    digits, radius, worst = float(most_digits()), 0.0, ""
    for i, (mine, other) in enumerate(zip(f, e, strict=True)):
        difference = mine - other
        radius = _later(radius, float(difference.rad()))
        shared = _shared_digits(difference, _lower(other), largest)
        if not shared >= digits:
            digits = shared
            index = np.unravel_index(i, found.shape)
            worst = _described(index, mine, other, math.ceil(shared) + 4)
    return TensorDigits(name, len(f), digits, radius, worst)


def _values(array: np.ndarray) -> list[Any]:
    return [as_ball(x).value for x in array.ravel()]


def _lower(x: Any) -> Any:
    """Return a lower bound of |x|; 0 if the enclosure contains 0 or is not finite."""
    return x.abs_lower() if x.is_finite() else arb(0)


def _shared_digits(difference: Any, size: Any, largest: Any) -> float:
    """Return a lower bound of -log10(|difference| / size), at least 0; 0 if not finite.

    An element that may be 0 is measured by the tensor's largest, a tensor of zeros by 1.
    """
    if not difference.is_finite():
        return 0.0
    if difference == 0:
        return math.inf
    share = difference.abs_upper() / next(s for s in (size, largest, arb(1)) if s > 0)
    return max(0.0, float((-share.log() / arb(10).log()).lower()))


def _later(a: float, b: float) -> float:
    return b if not b <= a else a  # nan wins


def _described(index: Any, mine: Any, other: Any, digits: int) -> str:
    if mine.is_finite() and other.is_finite() and mine.overlaps(other):
        return ""  # nothing says that they differ
    at = f"[{', '.join(str(int(i)) for i in index)}]" if index else ""
    return f"{at} is {mine.str(digits, radius=False)}, not {other.str(digits, radius=False)}"
