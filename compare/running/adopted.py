"""A step judged again where torch lost digits: what torch computed there is passed on.

All that follows from a piece in which torch is inaccurate would differ as well, and say nothing.
With torch's number in its place, everything else is judged as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from compare.gauge import Gauge
from compare.judge.judge import INACCURATE, Rows
from compare.pair.manual_side import ManualSide
from compare.pair.wrapped import Wrapped
from compare.running.alone import Found, Moment, roles
from compare.running.lockstep import Lockstep, Step
from manual.graph import Array, Arrays
from manual.layer import Layer


def judged_again(lockstep: Lockstep, moment: Moment, step: Step, pieces: Iterable[str]) -> Step:
    """Judge a step as if these pieces passed torch's numbers on."""
    return lockstep.judged_with(_side(moment, pieces), step)


def merged(rows: Rows, again: Rows, own: Iterable[int]) -> Rows:
    """Return a step's rows: what agrees as it is stays as it is, the others as judged again.

    Args:
        own: the rows of the pieces themselves, which cannot be judged by torch. What is wrong with
            torch's number in its place (a sum of it and others) is no inaccuracy.
    """
    lost = np.setdiff1d(list(own), again.bad)
    found = rows.taking(again, np.setdiff1d(rows.bad, lost))
    found.measures.budget[lost] = np.nan  # no part of a tolerance: they are not judged
    found.verdicts[lost] = INACCURATE
    return found


def _side(moment: Moment, pieces: Iterable[str]) -> ManualSide:
    side = moment.experiment.manual
    calls = {name: moment.at(name) for name in pieces}
    made = {name: Adopted(call.layer, call.by_torch()) for name, call in calls.items()}
    loss = made.pop("loss", side.loss)
    return side._replace(graph=side.graph.with_layers(made), loss=loss)


class Adopted(Wrapped):
    """A layer that passes on what torch computed; the errors are those of its own numbers."""

    def __init__(self, layer: Layer, found: Found) -> None:
        super().__init__(layer)
        self.found = found

    def forward(self, *inputs: Any, **noise: Any) -> tuple[Any, Any]:
        output, cache = super().forward(*inputs, **noise)
        theirs = [self.found.get(role) for role in roles(self.outputs)]
        if len(theirs) == 1:
            return _taken(output, theirs[0]), cache
        return tuple(map(_taken, output, theirs)), cache

    def backward(self, grad_output: Any, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        grads, own = super().backward(grad_output, cache)
        taken = (_taken(g, self.found.get(f"grad_input#{i}")) for i, g in enumerate(grads))
        return tuple(taken), self._named("grad", own)

    def grad_params(self, grad_output: Any, cache: Any) -> Arrays:
        return self._named("grad", super().grad_params(grad_output, cache))

    def next_buffers(self, cache: Any) -> Arrays:
        return self._named("buffer", super().next_buffers(cache))

    def _named(self, kind: str, own: Arrays) -> Arrays:
        return {key: _taken(mine, self.found.get(f"{kind}:{key}")) for key, mine in own.items()}


def _taken(mine: Any, theirs: Any) -> Any:
    if mine is None or theirs is None or np.shape(mine) != np.shape(theirs):
        return mine
    return Gauge(theirs.astype(np.float64), mine.e2) if isinstance(mine, Gauge) else theirs
