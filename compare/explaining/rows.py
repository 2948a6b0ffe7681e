"""What a step just run leaves, worked row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.explaining.torch_words import torch_words
from compare.explaining.worked import Worked, work
from compare.judge.judge import VERDICTS, gauged
from compare.running.alone import Moment
from compare.running.moment import gauge_values

if TYPE_CHECKING:
    from compare.running.experiment import Experiment


def moment_of(experiment: Experiment, lockstep: Any, step: Any) -> Moment:
    """Return what a step just run leaves, with a tolerance for every element."""
    tolerances, compare = step.tolerances, experiment.config.compare
    if compare.tolerance is None and _screened(tolerances, step.torch):
        failing = step.failure is not None
        values = gauge_values(experiment.manual, lockstep.start, experiment.dtype, failing=failing)
        tolerances = gauged(values, experiment.dtype, compare.k)
    return Moment(
        experiment, lockstep.start, step.number, step.manual, step.torch, tolerances, step.flips
    )


def _screened(tolerances: Any, torch: Any) -> bool:
    """Return whether tensors have one typical tolerance instead of one per element."""
    return any(np.ndim(torch.get(k, 0.0)) and not np.ndim(t) for k, t in tolerances.items())


def worked_rows(experiment: Experiment, lockstep: Any, step: Any) -> tuple[Worked, ...]:
    """Work the worst element of every row of a step just run, for the report."""
    moment, rows = moment_of(experiment, lockstep, step), step.rows
    return tuple(
        work_row(moment, rows, place, worst_index(rows.measures.worst[place], rows.shapes[place]))
        for place in range(len(rows.keys))
    )


def work_row(moment: Moment, rows: Any, place: int, at: tuple[int, ...]) -> Worked:
    """Work one element of one row: its formula, its arithmetic, and what torch calls it."""
    key = rows.keys[place]
    worked = work(moment, key, at, str(VERDICTS[rows.verdicts[place]]))
    module, grad_fn = torch_words(moment.experiment, key)
    return replace(worked, torch_module=module, grad_fn=grad_fn)


def worst_index(flat: float, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of a flat position; of the first element where there is none."""
    place = int(flat) if np.isfinite(flat) else 0
    return tuple(int(i) for i in np.unravel_index(place, shape)) if shape else ()
