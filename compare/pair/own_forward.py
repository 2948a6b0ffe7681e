"""Without a reference, the candidate's own forward is one, by central differences."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from time import thread_time
from typing import Any

import numpy as np

from compare.pair.budget import Budget
from compare.pair.candidates import Candidate, Result
from compare.pair.inputs import Inputs, fresh
from compare.pair.montecarlo import errors
from compare.pair.numeric import Slopes, along, slopes
from compare.pair.preserved import preserved

MOST = 600  # elements differentiated one by one; beyond, along random directions
DIRECTIONS = 6


class OwnForward:
    """Differentiates a candidate's forward numerically; proves only that backward fits forward."""

    name = "central differences of forward"

    def __init__(self, candidate: Candidate, budget: Budget | None = None) -> None:
        self.candidate, self.budget = candidate, budget
        self.along = 0  # directions of the latest run; 0: every element by itself
        self.cost = 0.0  # seconds of the latest forward pass
        self.found: dict[str, Slopes] = {}  # of the latest run
        self.rounding: list[np.ndarray] | None = None

    def forward(self, values: Inputs) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = thread_time()
            outputs = self.candidate.start(fresh(values)).outputs
            self.cost = thread_time() - before
        return tuple(np.asarray(y, dtype=np.float64) for y in outputs)

    def run(self, values: Inputs, upstreams: Sequence[np.ndarray] | None) -> Result:
        """Return the gradients; of a large input only its projections on random directions."""
        if upstreams is None:
            return Result(self.forward(values), {})
        sizes = [values[n].size for n in self.candidate.differentiable]
        self.along = DIRECTIONS if sum(sizes) > MOST else 0
        if self.budget is not None:
            few = self.budget.along(sum(sizes), len(sizes), self.cost, DIRECTIONS)
            self.along = few or self.along
        self.rounding = self._rounding(values)
        self.found = {
            name: self._slopes(values, name, upstreams) for name in self.candidate.differentiable
        }
        return Result((), {name: found.value for name, found in self.found.items()})

    def _slopes(self, values: Inputs, name: str, upstreams: Sequence[np.ndarray]) -> Slopes:
        directions = self.directions(values, name)
        if directions is None:
            return slopes(self.forward, values, name, upstreams, self.rounding)
        found = [
            along(self.forward, values, {name: d}, upstreams, self.rounding) for d in directions
        ]
        return Slopes(*(np.array(column) for column in zip(*found, strict=True)))

    def _rounding(self, values: Inputs) -> list[np.ndarray] | None:
        """Return E of every output, by Monte-Carlo arithmetic; None where that fails."""

        def run(moved: Inputs, _: Any) -> Result:
            return Result(self.candidate.start(moved).outputs, {})

        try:
            how = "inputs" if self.budget is not None and self.budget.directions else "numpy"
            with preserved(self.candidate.forward_code):
                found = errors(run, self.candidate.differentiable, values, (), "float64", how=how)
        except Exception:  # a stranger's code on strange numbers
            return None
        return [np.where(np.isfinite(e), e, 0.0) for e in found.values()]

    def directions(self, values: Inputs, name: str) -> np.ndarray | None:
        """Return the directions along which a large input is judged; None for a small one."""
        if not self.along:
            return None
        rng = np.random.default_rng([len(name), values[name].size])
        return rng.standard_normal((self.along, *values[name].shape))

    def error(self, name: str) -> Any:
        """Return how far off the numeric derivative may be, in absolute terms."""
        return 8 * self.found[name].error
