"""Reduce a failing case to the smallest that still fails in the same way.

First the sizes, then the magnitudes, then the numbers themselves: whole ones, and zeros. A step is
kept only if the same quantity still disagrees by the same judge; so what is left is what matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compare.pair.inputs import Inputs
from compare.running.cases.cases import Case
from compare.running.cases.outcome import Outcome
from compare.running.cases.sizes import Axis

if TYPE_CHECKING:
    from compare.commands.check.session import Session

BUDGET = 160  # tries
FEW = 40  # elements that are set to zero one at a time


def shrunk(session: Session, failed: Outcome) -> Outcome:
    """Return the smallest failing outcome that was found; at worst the one given."""
    return Shrinker(session, failed).smallest()


class Shrinker:
    """Tries smaller cases until none of them fails, or the budget is spent."""

    def __init__(self, session: Session, failed: Outcome) -> None:
        self.session, self.best = session, failed
        self.quantity = failed.bad[0]
        self.left = BUDGET
        session.evaluator.judging.wrong = set()  # each case by itself: none may end at a kink

    def smallest(self) -> Outcome:
        if self.best.case.layout:
            self._try(self.best.case.values, self.best.upstreams, layout="")
        while self._shorter():
            pass
        self._simpler()
        self._zeroed()
        return self.best

    def _try(
        self, values: Inputs, upstreams: Sequence[np.ndarray] | None, layout: str | None = None
    ) -> bool:
        """Judge a case; keep it if it fails as the first one did."""
        if self.left <= 0:
            return False
        self.left -= 1
        case = Case("shrunk", values, self.best.case.layout if layout is None else layout)
        try:
            outcome = self.session.evaluator.judge(case, 0, upstreams)
        except Exception:
            return False
        if self.quantity not in outcome.bad or _failure(outcome) != _failure(self.best):
            return False
        if (self.quantity in outcome.remarks) != (self.quantity in self.best.remarks):
            return False
        self.best = replace(outcome, case=replace(case, values=outcome.values))
        return True

    def _shorter(self) -> bool:
        """Try axes that belong together at length 1, 2, 3, …; True if some got shorter."""
        found = False
        for axes in self._axes():
            name, axis = next(iter(axes))
            length = self.best.values[name].shape[axis]
            if any(self._try(self._cut(axes, kept), None) for kept in parts(length)):
                found = True
        return found

    def _axes(self) -> list[list[Axis]]:
        """Return the axes that belong together: as the cases found them, else by equal length."""
        arrays = {n: v for n, v in self.best.values.items() if isinstance(v, np.ndarray)}
        known = [sorted(group) for group in self.session.cases.sizes.groups]
        taken = {axis for group in known for axis in group}
        by_length: dict[int, list[Axis]] = {}
        for name, array in arrays.items():
            for axis, length in enumerate(array.shape):
                own = length in self.session.fixed
                if length > 1 and not own and (name, axis) not in taken:
                    by_length.setdefault(length, []).append((name, axis))
        return [*known, *by_length.values()]

    def _cut(self, axes: Sequence[Axis], kept: range) -> Inputs:
        values = dict(self.best.values)
        for name, axis in axes:
            values[name] = np.take(values[name], kept, axis=axis)
        return values

    def _simpler(self) -> None:
        """Try whole numbers, or fewer digits, in every input and in the upstream gradient."""
        for name in self.session.candidate.differentiable:
            self._first_that_fails(
                ({**self.best.values, name: plain}, self.best.upstreams)
                for plain in simpler(self.best.values[name])
            )
        if self.session.candidate.takes_upstream:
            for i in range(len(self.best.upstreams)):
                self._first_that_fails(
                    (self.best.values, _swapped(self.best.upstreams, i, plain))
                    for plain in simpler(self.best.upstreams[i])
                )

    def _first_that_fails(self, tries: Iterator[tuple]) -> None:
        any(self._try(values, upstreams) for values, upstreams in tries)

    def _zeroed(self) -> None:
        """Set to zero what does not matter."""
        names = self.session.candidate.differentiable
        if sum(self.best.values[name].size for name in names) > FEW:
            return
        for name in names:
            for index in np.ndindex(self.best.values[name].shape):
                if self.best.values[name][index]:
                    zeroed = self.best.values[name].copy()
                    zeroed[index] = 0.0
                    self._try({**self.best.values, name: zeroed}, self.best.upstreams)


def _failure(outcome: Outcome) -> tuple[str, str]:
    """Return which function failed, and with which kind of exception; empty if none did."""
    return outcome.failing, outcome.crashed.partition(":")[0]


def parts(length: int) -> Iterator[range]:
    """Yield shorter runs of an axis: each single one of a few, then the first two, three, half."""
    yield from (range(i, i + 1) for i in range(min(length, 6)) if length > 1)
    yield from (range(n) for n in (2, 3, length // 2) if 1 < n < length)


def simpler(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield plainer arrays of the same shape, the plainest first."""
    largest = float(np.max(np.abs(array), initial=0.0))
    rounders: list[Callable] = [np.round, lambda a: np.round(2 * a) / 2, lambda a: np.round(a, 1)]
    if largest and not 1e-2 < largest < 50:
        for rounder in rounders:
            yield rounder(array / largest * 3)
    for rounder in rounders:
        if largest > 0.5:
            yield rounder(array)


def _swapped(arrays: Sequence[np.ndarray], i: int, new: np.ndarray) -> tuple[np.ndarray, ...]:
    return (*arrays[:i], new, *arrays[i + 1 :])
