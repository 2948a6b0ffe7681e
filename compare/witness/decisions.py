"""Comparisons of balls: made only where they are certain, and counted.

A comparison decides which piece of the code runs. Where the two sides cannot be told apart the
derivative may not exist, so an undecided comparison raises `BranchPointError`; none is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compare.witness.balls import Ball


class BranchPointError(ArithmeticError):
    """A comparison whose answer changes at, or too close to, the tested point."""


class Decisions:
    """The comparisons of one run: how many, how many tied, the smallest distance of the others."""

    def __init__(self, one_sided: bool = False) -> None:
        self.one_sided = one_sided  # at a tie, look ahead along the direction of the slopes
        self.count = self.ties = 0
        self.nearest = float("inf")

    def compare(self, a: Ball, b: Ball) -> int:
        """Return the sign of a - b.

        Raises:
            BranchPointError: the ball of a - b contains 0; unless both are exactly equal, and do
                not move with the direction, or move apart and the run is one-sided.
        """
        self.count += 1
        difference: Any = a.value - b.value
        if difference > 0 or difference < 0:
            self.nearest = min(self.nearest, float(difference.abs_lower()))
            return 1 if difference > 0 else -1
        if difference == 0:  # exactly: both radii are 0
            self.ties += 1
            if a.slope is None and b.slope is None:
                return 0
            if self.one_sided:
                return self._ahead(a, b)
        raise BranchPointError(
            f"a comparison cannot be decided: {a} against {b}. The code takes different branches "
            "on the two sides of this point, or the balls are too wide (more bits)."
        )

    @staticmethod
    def _ahead(a: Ball, b: Ball) -> int:
        gap: Any = (0 if a.slope is None else a.slope) - (0 if b.slope is None else b.slope)
        if gap > 0 or gap < 0:
            return 1 if gap > 0 else -1
        raise BranchPointError(f"{a} and {b} are equal and do not move apart")


_runs = [Decisions()]


def current() -> Decisions:
    """Return the record of the run in progress."""
    return _runs[-1]


@contextmanager
def deciding(*, one_sided: bool = False) -> Iterator[Decisions]:
    """Record the comparisons made inside."""
    _runs.append(Decisions(one_sided))
    try:
        yield _runs[-1]
    finally:
        _runs.pop()
