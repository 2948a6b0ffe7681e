"""Every one of several equal maxima gets the whole gradient: each what it would get alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.diagnose.causes import Cause
from compare.pair.inputs import as_float
from compare.pair.own_forward import OwnForward
from compare.running.cases.outcome import Outcome

if TYPE_CHECKING:
    from compare.commands.check.session import Session

MOST, RAISED = 64, 1e-9  # elements that are raised one by one, and by how much of their size
ADVICE = "Of equal numbers one wins (argmax), or they share: a mask x == max counts each of them."


def tied_maximum(session: Session, outcome: Outcome, quantity: str) -> Cause | None:
    """Return the cause if every element that is off gets what it would as the only maximum."""
    pair, name = outcome.pair(quantity), quantity[5:]
    if pair is None or quantity[:5] != "grad:" or isinstance(session.reference, OwnForward):
        return None
    mine, theirs = as_float(pair[0]), as_float(pair[1])
    off = np.argwhere(np.abs(mine - theirs) > 1e-6 * np.abs(theirs).max(initial=0.0))
    x = outcome.values[name]
    tied = all(np.count_nonzero(x == x[tuple(at)]) > 1 for at in off)
    if not 2 <= len(off) <= MOST or not tied:
        return None
    for sign, what in ((1, "maximum"), (-1, "minimum")):
        alone = ((mine[at], _alone(session, outcome, name, at, sign)) for at in map(tuple, off))
        if all(np.isclose(a, b, rtol=1e-6, atol=1e-12) for a, b in alone):
            text = f"each of several equal numbers gets the whole gradient of the {what}."
            return Cause("tied maximum", text, ADVICE)
    return None


def _alone(session: Session, outcome: Outcome, name: str, at: tuple[int, ...], sign: int) -> float:
    """Return an element's gradient when it alone is the largest, or smallest, of its equals."""
    x = np.array(outcome.values[name])
    x[at] += sign * RAISED * max(1.0, abs(x[at]))
    result = session.reference.run({**outcome.values, name: x}, outcome.upstreams)
    return float(result.grads[name][at])
