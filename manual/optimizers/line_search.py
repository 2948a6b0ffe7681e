"""A step length that satisfies the strong Wolfe conditions, along one direction.

With φ(t) = L(θ + t d), the loss along a direction d of descent, φ′(0) < 0:
    φ(t) ≤ φ(0) + c₁ t φ′(0)        the loss has fallen by a share of what the slope promised
    |φ′(t)| ≤ c₂ |φ′(0)|            and no longer falls as steeply
Source: Nocedal, Wright, Numerical Optimization, 2006, section 3.5, algorithms 3.5 and 3.6; the
safeguards are torch's, from minFunc (Schmidt, 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from manual.graph import Array

__all__ = ["Point", "strong_wolfe"]

C1, C2 = 1e-4, 0.9


class Point(NamedTuple):
    """What is known at one step length: φ(t), the gradient ∇L there, and φ′(t)."""

    t: Any
    loss: float
    grad: Array
    slope: float


def strong_wolfe(
    at: Callable[[Any], Point],
    start: Point,
    t: Any,
    *,
    length: Any,
    most: int,
    tolerance: float = 1e-9,
) -> tuple[Point, int]:
    """Return a point that satisfies both conditions, or the best found, and how often φ was asked.

    Args:
        at: evaluates φ at a step length.
        start: φ at 0.
        t: the first length to try.
        length: the largest element of the direction, in size.
        most: points after the first; then what is best is taken.
        tolerance: the interval's size, times `length`, at which to stop.
    """
    ends, asked = bracketed(at, start, t, most)
    best, other = ranked(ends)
    stuck = False  # the last trial was close to an end
    while len(ends) > 1 and asked < most:
        left, right = sorted(end.t for end in ends)
        if (right - left) * length < tolerance:
            break
        trial, stuck = safeguarded(cubic(ends[0], ends[1], left, right), left, right, stuck)
        now = at(trial)
        asked += 1
        if too_high(now, start) or now.loss >= ends[best].loss:
            ends[other] = now
            best, other = ranked(ends)
            continue
        if flat_enough(now, start):
            return now, asked + 1
        if now.slope * (ends[other].t - ends[best].t) >= 0:
            ends[other] = ends[best]
        ends[best] = now
    return ends[best], asked + 1


def bracketed(
    at: Callable[[Any], Point], start: Point, t: Any, most: int
) -> tuple[list[Point], int]:
    """Walk until an interval must hold a good point; return its ends, or the good point alone."""
    before, now = start, at(t)
    for asked in range(most):
        if too_high(now, start) or (asked > 1 and now.loss >= before.loss):
            return [before, now], asked
        if flat_enough(now, start):
            return [now], asked
        if now.slope >= 0:
            return [before, now], asked
        near, far = now.t + 0.01 * (now.t - before.t), now.t * 10
        before, now = now, at(cubic(before, now, near, far))
    return [start, now], most


def ranked(ends: list[Point]) -> tuple[int, int]:
    """Return the places of the best end and of the other; of two alike, the first is the best."""
    return (0, 1) if ends[0].loss <= ends[-1].loss else (1, 0)


def too_high(now: Point, start: Point) -> bool:
    return now.loss > start.loss + C1 * now.t * start.slope


def flat_enough(now: Point, start: Point) -> bool:
    return abs(now.slope) <= -C2 * start.slope


def cubic(a: Point, b: Point, low: Any, high: Any) -> Any:
    """Return where the cubic with these values and slopes is smallest, within the bounds.

    Without a minimum it is the middle.
    """
    first = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = first**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    root = square**0.5
    left, right = sorted((a, b), key=attrgetter("t"))
    share = (right.slope + root - first) / (right.slope - left.slope + 2 * root)
    return min(max(right.t - (right.t - left.t) * share, low), high)


def safeguarded(t: Any, low: Any, high: Any, stuck: bool) -> tuple[Any, bool]:
    """Move a trial away from the nearer end if two in a row are close to one, or it is one."""
    margin = 0.1 * (high - low)
    if not min(high - t, t - low) < margin:
        return t, False
    if not (stuck or t in (low, high)):
        return t, True
    return min(max(t, low + margin), high - margin), False
