"""Where the function has no derivative, a different convention is no mistake.

An element that disagrees is excused only if all of this holds:

- nearby gradients differ from one another however near they are taken (a kink), and the
  candidate's number lies in the range of the nearest; or they do not differ, the candidate equals
  them, and it is the reference that is off (relu(x) − relu(−x) at 0). However near: on a ladder of
  three distances, the last of them a few roundings, the range must not shrink; what is steep
  (√(x² + ε), sigmoid(10⁷ x)) looks like a kink on the upper rungs;
- along directions that move equal values together, where the function is smooth, the candidate's
  gradient gives its derivative: each of two tied winners may get a share, but not both the whole.
  `Judge` asks the same of all inputs together, because ties may lie between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import Inputs
from compare.pair.numeric import apart
from compare.pair.own_forward import OwnForward
from compare.running.cases.tied import Claim, fits_smooth_directions

NEAR, FAR = 1e-6, 1e-4  # distances, of the input's size
DEEP, DEEP_AT_ZERO = 2.0**-49, 1e-60  # the nearest: of an element; of the size where it is zero
FEW, MANY, MOST = 8, 64, 1024  # samples at random; elements pushed to a side of their own
FEW_APART = 16  # elements that tie with several others, without a reference
REFUSALS = 64  # points nearby that a reference may refuse, at the edge of its domain
BEND = 1e-2  # what sampled ends of a range may be off by, of its width


class Hood(NamedTuple):
    """The range of gradients near a point, and where it does not shrink towards the point."""

    low: np.ndarray
    high: np.ndarray
    kinked: np.ndarray


class Disagreement(NamedTuple):
    """One gradient that differs from the reference's."""

    name: str
    manual: np.ndarray
    expected: np.ndarray
    tolerance: Any


def excused(
    found: Disagreement,
    reference: Any,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    floats: Sequence[str],
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Return which elements differ by convention alone; None unless all that differ do.

    None, too, where a reference refuses what lies nearby, as one of probabilities does at 1.
    """
    try:
        return _excused(found, reference, values, upstreams, floats, rng)
    except Exception:  # a stranger's reference on inputs that are not the stranger's
        return None


def _excused(
    found: Disagreement,
    reference: Any,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    floats: Sequence[str],
    rng: np.random.Generator,
) -> np.ndarray | None:
    bad = ~(np.abs(found.manual - found.expected) <= found.tolerance)
    if not np.isfinite(found.manual[bad]).all() or not np.isfinite(found.expected).all():
        return None
    if isinstance(reference, OwnForward):
        slopes = reference.found[found.name]
        hood = Hood(slopes.low.copy(), slopes.high.copy(), slopes.low < slopes.high)
        whole = found.manual.shape == values[found.name].shape  # not projected
        for index in np.argwhere(whole & bad & hood.kinked & ~_allowed(found, hood))[:FEW_APART]:
            at = tuple(index)
            only = {found.name: np.zeros(values[found.name].shape)}
            only[found.name][at] = 1.0
            low, high = apart(reference.forward, values, only, upstreams, floats, rng)
            hood.low[at], hood.high[at] = min(hood.low[at], low), max(hood.high[at], high)
        fits = bool(_allowed(found, hood)[bad].all())
    else:
        fits = _near_ones_allow(
            found, bad, Nearby(reference, values, upstreams, floats, found.name, rng)
        )
    if not fits:
        return None
    claim = {found.name: Claim(found.manual, found.tolerance, bad)}
    fits = fits_smooth_directions(claim, reference, values, upstreams, floats, rng)
    return bad if fits else None


def _near_ones_allow(found: Disagreement, bad: np.ndarray, near: Nearby) -> bool:
    """Return whether gradients nearby allow every bad element; more are drawn where it takes them.

    One of many tied winners wins rarely: an element outside the range so far is pushed up and down
    by itself, until it is inside or has been on both sides.
    """
    hood = near.hood(FEW)
    if not (hood.kinked[bad] | _off(found, hood)[bad]).any():
        return False  # smooth here: a plain mistake
    hood = near.hood(MANY)
    for index in np.argwhere(bad & ~_allowed(found, hood))[:MOST]:
        at = tuple(index)
        if not _allowed(found, hood)[at]:
            near.push(at)
            hood = near.hood(MANY)
            if not _allowed(found, hood)[at]:
                return False
    return bool(_allowed(found, hood)[bad].all())


def _allowed(found: Disagreement, hood: Hood) -> np.ndarray:
    width = hood.high - hood.low
    room = np.where(hood.kinked, BEND * width, 2 * width) + found.tolerance
    within = (found.manual >= hood.low - room) & (found.manual <= hood.high + room)
    return within & (hood.kinked | _off(found, hood))


def _off(found: Disagreement, hood: Hood) -> np.ndarray:
    """Return where the reference's own number is none of those around it."""
    middle, width = (hood.low + hood.high) / 2, hood.high - hood.low
    return np.abs(found.expected - middle) > 8 * width + found.tolerance


class Nearby:
    """The reference's gradient of one input, at random points near the given one."""

    def __init__(
        self,
        reference: Any,
        values: Inputs,
        upstreams: Sequence[np.ndarray],
        floats: Sequence[str],
        name: str,
        rng: np.random.Generator,
    ) -> None:
        self.reference, self.values, self.upstreams = reference, values, upstreams
        self.floats, self.name, self.rng = floats, name, rng
        self.near, self.far, self.deep = Range(), Range(), Range()

    def hood(self, samples: int) -> Hood:
        """Return the range of so many gradients; few are enough to see that nothing is kinked."""
        self._sample(self.far, lambda x: FAR * _scale(x), FEW)
        self._sample(self.near, lambda x: NEAR * _scale(x), samples)
        self._sample(self.deep, _deep, samples)
        low, high, width = self.deep.low, self.deep.high, self.deep.width
        stays = (self.near.width > 0.3 * self.far.width) & (width > 0.3 * self.near.width)
        return Hood(low, high, stays & (width > 1e-9 * np.maximum(np.abs(high), np.abs(low))))

    def push(self, at: tuple[int, ...]) -> None:
        """Look where one element is clear of all that it ties with: above it, and below."""
        scale = max(_scale(self.values[name]) for name in self.floats)
        here = self.values[self.name][at]
        deep = DEEP * abs(here) or DEEP_AT_ZERO * scale
        for side in (8, -8):
            for into, step, shaken in (
                (self.near, NEAR * scale, lambda x: NEAR / 64 * _scale(x)),
                (self.deep, deep, lambda x: _deep(x) / 8),
            ):
                moved = self._shaken(shaken)
                moved[self.name][at] = here + side * step
                into.add(self._gradient(moved))

    def _sample(self, into: Range, distance: Callable, samples: int) -> None:
        """Raise what the reference raises if it refuses nearly all that lies that near."""
        for refused in range(REFUSALS):
            try:
                while into.count < samples:
                    into.add(self._gradient(self._shaken(distance)))
                return
            except Exception:
                if refused + 1 == REFUSALS:
                    raise

    def _shaken(self, distance: Callable) -> Inputs:
        shaken = {
            name: x + distance(x) * self.rng.standard_normal(x.shape)
            for name, x in self.values.items()
            if name in self.floats
        }
        return {**self.values, **shaken}

    def _gradient(self, values: Inputs) -> np.ndarray:
        return self.reference.run(values, self.upstreams).grads[self.name]


class Range:
    """The least and the largest of some arrays, element by element."""

    low: np.ndarray
    high: np.ndarray
    count = 0

    def add(self, array: np.ndarray) -> None:
        self.low = np.minimum(self.low, array) if self.count else array
        self.high = np.maximum(self.high, array) if self.count else array
        self.count += 1

    @property
    def width(self) -> np.ndarray:
        return self.high - self.low


def _deep(x: np.ndarray) -> np.ndarray:
    """Return the least distances at which sides can be told apart: norms underflow at 1e-160."""
    return np.where(x == 0, DEEP_AT_ZERO * _scale(x), DEEP * np.abs(x))


def _scale(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) or 1.0
