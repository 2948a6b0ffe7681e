"""Where the function has no derivative, a different convention is no mistake.

An element that disagrees is excused only if all of this holds:

- nearby gradients differ from one another however near they are taken (a kink), and the
  candidate's number lies in their range, widened once on both sides; or they do not differ, the
  candidate equals them, and it is the reference that is off (relu(x) − relu(−x) at 0);
- along directions that move equal values together, where the function is smooth, the candidate's
  gradient gives its derivative: each of two tied winners may get a share, but not both the whole.
  `Judge` asks the same of all inputs together, because ties may lie between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.checking.inputs import Inputs
from compare.checking.numeric import along
from compare.checking.own_forward import OwnForward

NEAR, FAR = 1e-6, 1e-4  # distances, of the input's size
FEW, MANY = 8, 64  # samples: one of several tied winners wins rarely


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
    """Return which elements differ by convention alone; None unless all that differ do."""
    bad = ~(np.abs(found.manual - found.expected) <= found.tolerance)
    if not np.isfinite(found.manual[bad]).all() or not np.isfinite(found.expected).all():
        return None
    if isinstance(reference, OwnForward):
        slopes = reference.found[found.name]
        allowed = _allowed(found, Hood(slopes.low, slopes.high, slopes.low < slopes.high))
    else:
        near = Nearby(reference, values, upstreams, floats, found.name, rng)
        hood = near.hood(FEW)
        if not (hood.kinked[bad] | _off(found, hood)[bad]).any():
            return None  # smooth here: a plain mistake
        allowed = _allowed(found, near.hood(MANY))
    if not allowed[bad].all():
        return None
    own = {found.name: found.manual}
    return bad if fits_smooth_directions(own, reference, values, upstreams, rng) else None


def _allowed(found: Disagreement, hood: Hood) -> np.ndarray:
    width = hood.high - hood.low
    room = np.where(hood.kinked, width, 2 * width + found.tolerance)
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
        self.near: list[np.ndarray] = []
        self.far: list[np.ndarray] = []

    def hood(self, samples: int) -> Hood:
        """Return the range of so many gradients; few are enough to see that nothing is kinked."""
        self._sample(self.near, NEAR, samples)
        self._sample(self.far, FAR, FEW)
        low, high = np.min(self.near, axis=0), np.max(self.near, axis=0)
        width, far = high - low, np.ptp(self.far, axis=0)
        least = 1e-9 * max(np.max(np.abs(high)), np.max(np.abs(low)), 1e-300)
        return Hood(low, high, (width > 0.3 * far) & (width > least))

    def _sample(self, into: list[np.ndarray], distance: float, samples: int) -> None:
        while len(into) < samples:
            shaken = {n: _shaken(self.values[n], distance, self.rng) for n in self.floats}
            moved = {**self.values, **shaken}
            into.append(self.reference.run(moved, self.upstreams).grads[self.name])


def _shaken(x: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
    scale = float(np.sqrt(np.mean(np.square(x)))) or 1.0
    return x + distance * scale * rng.standard_normal(x.shape)


def fits_smooth_directions(
    grads: Mapping[str, np.ndarray],
    reference: Any,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> bool:
    """Move equal values together: where that is smooth, the gradients must give its derivative.

    Args:
        grads: the candidate's, of the inputs that move; ties may lie between two of them.
        reference, values, upstreams, rng: as for `excused`.
    """
    flat = np.concatenate([values[name].ravel() for name in grads])
    distinct, which = np.unique(flat, return_inverse=True)
    ends = np.cumsum([values[name].size for name in grads])[:-1]
    for _ in range(3):
        pieces = np.split(rng.standard_normal(distinct.size)[which.ravel()], ends)
        along_ = {n: d.reshape(values[n].shape) for n, d in zip(grads, pieces, strict=True)}
        slope = along(reference.forward, values, along_, upstreams)
        claimed = np.concatenate([(grads[n] * d).ravel() for n, d in along_.items()])
        room = 1e-4 * np.abs(claimed).sum() + 8 * slope.error
        if not slope.kinked and abs(claimed.sum() - slope.value) > room:
            return False
    return True
