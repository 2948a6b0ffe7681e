"""What answers in doubt excuse (`compare.running.doubt`) has to be right where none is in doubt.

A layer with a mistake in it may decide in float32, like any other, on numbers that rounding can
turn. Run alone it still has the mistake; in float64, where the same numbers are in no doubt, too.
"""

from __future__ import annotations

import numpy as np

from compare.diagnose.examiner import Examiner
from compare.judge.judge import Rows
from compare.running.alone import Moment
from compare.running.doubt import pieces, turned
from compare.running.lockstep import Step


def examined(moment: Moment, step: Step) -> Rows:
    """Return a step's rows, those as they are without any doubt whose own piece is wrong."""
    rows, certain = step.rows, step.certain
    if certain is None:
        return rows
    examiner = Examiner(moment)
    known: dict[str, set[str]] = {}
    wrong: list[int] = []
    for i in np.setdiff1d(certain.bad, rows.bad):
        suspect = examiner.suspect(certain.keys[i])
        if not suspect.own:
            continue
        name = suspect.layer
        if name not in known:
            known[name] = _turned(moment, name)
        if suspect.role not in known[name]:
            wrong.append(int(i))
    return rows.taking(certain, wrong)


def _turned(moment: Moment, name: str) -> set[str]:
    """Return in which quantities a piece is off by nothing but answers that rounding turned."""
    experiment = moment.experiment
    if name not in pieces(experiment.manual):
        return set()
    try:
        found = turned(moment.at(name), experiment.dtype, experiment.config.compare.k)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return set()
    return {role.partition("#")[0] for role in found}
