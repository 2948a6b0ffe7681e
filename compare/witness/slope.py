"""The slope of a function of one number, by central differences: its value and its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from compare.pair.richardson import extrapolated

STEPS = 2.0 ** -np.arange(3, 21)  # 1/8 … 1e-6
ORDERS = 4  # h², h⁴, h⁶ are extrapolated away
EPS = float(np.finfo(np.float64).eps)


FEWEST = 8  # steps that must be left for a measurement


class Samples(NamedTuple):
    """A function around 0: there, and at ± every step, largest first."""

    here: float
    steps: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray

    @property
    def noise(self) -> float:
        """Return how far rounding may have moved any of the values."""
        values = np.concatenate([[self.here], self.ahead, self.behind])
        return 8 * EPS * float(np.max(np.abs(values)))

    @property
    def usable(self) -> bool:
        return bool(np.isfinite(self.here)) and len(self.steps) >= FEWEST


class Slope(NamedTuple):
    """A measured slope, within about ± error."""

    value: float
    error: float


def sample(f: Callable[[float], float]) -> Samples:
    """Evaluate f at 0 and at ± every step, but for the large ones that leave its domain."""
    ahead, behind = (np.array([_value(f, sign * h) for h in STEPS]) for sign in (1, -1))
    outside = np.flatnonzero(~np.isfinite(ahead + behind))
    first = outside[-1] + 1 if outside.size else 0
    return Samples(f(0.0), STEPS[first:], ahead[first:], behind[first:])


def _value(f: Callable[[float], float], step: float) -> float:
    try:
        return f(step)
    except (ValueError, ArithmeticError):
        return np.nan


def central(s: Samples) -> Slope:
    """Return the slope at 0 by Ridders' method, without a look at what anyone claims."""
    column = (s.ahead - s.behind) / (2 * s.steps)
    return Slope(*extrapolated(column, s.noise / s.steps, 2.0, ORDERS))


def kink(s: Samples) -> tuple[float, float] | None:
    """Return the slopes on the two sides, if they differ at 0 itself.

    (f(h) + f(-h) - 2 f(0)) / h is the difference of the slopes; for a smooth f it falls with h.
    """
    jump = (s.ahead + s.behind - 2 * s.here) / s.steps
    small = [len(s.steps) - 7, len(s.steps) - 4, len(s.steps) - 1]
    heights = np.abs(jump[small])
    if heights[2] < 0.5 * heights[0] or heights[2] <= 20 * s.noise / s.steps[-1]:
        return None
    middle = (s.ahead[-4] - s.behind[-4]) / (2 * s.steps[-4])
    return float(middle - jump[-4] / 2), float(middle + jump[-4] / 2)


def remainder_rate(s: Samples, claimed: float) -> float | None:
    """Return p in |f(h) - f(0) - h · claimed| ~ h^p: 2 for the right slope, 1 for a wrong one.

    It is read at the two smallest steps whose remainder stands clear of rounding; None if fewer
    than two do, or if it vanishes below some step: f is straight there, and `claimed` its slope.
    """
    remainder = np.abs(s.ahead - s.here - s.steps * claimed)
    clear = np.flatnonzero(remainder > 100 * s.noise)
    if not clear.size or not clear[-1] or clear[-1] - 1 not in clear:
        return None
    k = clear[-1]
    vanishes = k + 1 < len(remainder) and remainder[k + 1] < remainder[k] / 32
    return None if vanishes else float(np.log2(remainder[k - 1] / remainder[k]))
