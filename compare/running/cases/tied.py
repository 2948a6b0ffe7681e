"""Values that tie are moved together: where that is smooth, gradients must give its derivative.

A function of differences of tied inputs (a maximum) does not see that they move together, so the
shares of the gradient that its winners get have a sum that is no matter of convention. Every group
of equal values is moved alone. Where it still has a kink, because a unary one (|z| at z = 0) lies
on the same value, the inputs that tie with a disagreeing element are found from forward: two
inputs a and b tie if f(a+h, b+h) − f(a+h, b) − f(a, b+h) + f(a, b) shrinks no faster than h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import Inputs
from compare.pair.numeric import Slope, along, apart

GROUPS = 64  # moved alone, those with disagreeing elements only
STEP = 2.0**-15  # of the input's size; ties are told from curvature by a step 16 times smaller
BEND = 1e-2  # what one-sided derivatives may be off by


class Claim(NamedTuple):
    """A gradient to be tested: its rounding, and which elements differ from the reference's."""

    grad: np.ndarray
    tolerance: Any
    differs: np.ndarray


def fits_smooth_directions(
    claims: Mapping[str, Claim],
    reference: Any,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    floats: Sequence[str],
    rng: np.random.Generator,
) -> bool:
    """Return whether the gradients give the derivative along all directions of equal values.

    Args:
        claims: by input; ties may lie between two of them.
        reference, values, upstreams, floats, rng: as for `excused`.
    """
    whole = {n: claim for n, claim in claims.items() if claim.grad.shape == values[n].shape}
    try:
        return not whole or _Ties(whole, reference, values, upstreams, floats, rng).fit()
    except Exception:  # a stranger's reference refuses what lies nearby: nothing is excused
        return False


class _Ties:
    """The inputs as one vector, of which groups of elements are moved together."""

    def __init__(
        self,
        claims: Mapping[str, Claim],
        reference: Any,
        values: Inputs,
        upstreams: Sequence[np.ndarray],
        floats: Sequence[str],
        rng: np.random.Generator,
    ) -> None:
        self.names, self.floats, self.rng = tuple(claims), floats, rng
        self.reference, self.values, self.upstreams = reference, values, upstreams
        self.ends = np.cumsum([values[n].size for n in claims])[:-1]
        self.flat = np.concatenate([values[n].ravel() for n in claims])
        self.grad = np.concatenate([c.grad.ravel() for c in claims.values()])
        self.differs = np.concatenate([c.differs.ravel() for c in claims.values()])
        rounding = [np.broadcast_to(c.tolerance, c.grad.shape).ravel() for c in claims.values()]
        self.rounding = np.concatenate(rounding)
        self.here = reference.forward(values)
        self.size = float(np.sqrt(np.mean(np.square(self.flat)))) or 1.0

    def fit(self) -> bool:
        distinct, which = np.unique(self.flat, return_inverse=True)
        which = which.ravel()
        for _ in range(3):
            if not self._right(self.rng.standard_normal(distinct.size)[which], kinks=False):
                return False
        groups = np.unique(which[self.differs])[:GROUPS]
        return all(self._group_fits(np.flatnonzero(which == group)) for group in groups)

    def _group_fits(self, members: np.ndarray) -> bool:
        direction = self._only(members)
        slope = self._slope(direction)
        if not slope.kinked:
            return self._matches(direction, slope)
        left = members[self.differs[members]]
        for _ in range(GROUPS):
            if not left.size:
                break
            first, others = left[0], members[members != left[0]]
            tied = np.append(self._linked(first, others), first)
            if not self._right(self._only(tied), kinks=True):
                return False
            left = np.setdiff1d(left, tied)
        return True

    def _right(self, direction: np.ndarray, *, kinks: bool) -> bool:
        slope = self._slope(direction)
        if slope.kinked and not kinks:
            return True
        return self._matches(direction, slope)

    def _matches(self, direction: np.ndarray, slope: Slope) -> bool:
        """Compare with the derivative; at a kink, with the range of those there and nearby."""
        claimed = self.grad * direction
        room = 1e-4 * np.abs(claimed).sum() + np.abs(self.rounding * direction).sum()
        if not slope.kinked:
            return not abs(claimed.sum() - slope.value) > room + 8 * slope.error
        if _within(claimed.sum(), slope.low, slope.high, room):
            return True
        low, high = apart(
            self.reference.forward, self.values, self._shaped(direction), self.upstreams,
            self.floats, self.rng,
        )  # fmt: skip
        return _within(claimed.sum(), min(low, slope.low), max(high, slope.high), room)

    def _linked(self, one: int, others: np.ndarray) -> np.ndarray:
        """Return which of the others tie with one element, by halving."""
        if not others.size or not self._tie(one, others):
            return others[:0]
        if others.size == 1:
            return others
        half = others.size // 2
        return np.append(self._linked(one, others[:half]), self._linked(one, others[half:]))

    def _tie(self, one: int, others: np.ndarray) -> bool:
        single, many = self._only(np.array([one])), self._only(others)
        many[others] = self.rng.uniform(0.5, 0.9, others.size)
        large, small = (self._mixed(single, many, STEP * scale) for scale in (1, 1 / 16))
        noise = 2.0**-46 * np.array([np.max(np.abs(y), initial=0.0) for y in self.here])
        return any(
            bool(((np.abs(b) > 0.5 / 16 * np.abs(a)) & (np.abs(b) > least)).any())
            for a, b, least in zip(large, small, noise, strict=True)
        )

    def _mixed(self, a: np.ndarray, b: np.ndarray, step: float) -> list[np.ndarray]:
        h = step * self.size
        both, one, two = (self._forward(h * d) for d in (a + b, a, b))
        return [w - x - y + z for w, x, y, z in zip(both, one, two, self.here, strict=True)]

    def _forward(self, change: np.ndarray) -> tuple[np.ndarray, ...]:
        moved = {n: self.values[n] + d for n, d in self._shaped(change).items()}
        return self.reference.forward({**self.values, **moved})

    def _slope(self, direction: np.ndarray) -> Slope:
        return along(self.reference.forward, self.values, self._shaped(direction), self.upstreams)

    def _shaped(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        pieces = zip(self.names, np.split(flat, self.ends), strict=True)
        return {n: piece.reshape(self.values[n].shape) for n, piece in pieces}

    def _only(self, members: np.ndarray) -> np.ndarray:
        direction = np.zeros(self.flat.size)
        direction[members] = 1.0
        return direction


def _within(number: float, low: float, high: float, room: float) -> bool:
    room += BEND * (high - low)
    return bool(low - room <= number <= high + room)


def equal_to_another(x: np.ndarray) -> np.ndarray:
    """Return which elements have a value that occurs twice."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    return counts[which.reshape(x.shape)] > 1
