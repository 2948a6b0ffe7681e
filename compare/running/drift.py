"""A free run: both sides from the same weights and never re-synchronised.

It shows how far two correct programs drift apart, and is a diagnostic, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.running.experiment import Experiment
from compare.running.pictures import pictures
from compare.running.refusal import torchs_own
from compare.running.sampling import Sample, sample
from compare.running.scores import COLUMNS as SCORED
from compare.running.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["step", "loss_manual", "loss_torch", "max_param_diff"]


class Drift(NamedTuple):
    """Losses and distance at every step, how well both sides do at some; what is there to show."""

    steps: pd.DataFrame
    scores: pd.DataFrame
    pictures: dict[str, np.ndarray]
    sample: Sample | None
    note: str = ""


def no_drift() -> Drift:
    """Return what there is without a free run."""
    import pandas as pd

    return Drift(pd.DataFrame(columns=COLUMNS), pd.DataFrame(columns=SCORED), {}, None)


def free_run(experiment: Experiment, steps: int, on_step: Callable[[int], Any]) -> Drift:
    """Train both sides on the same batches for `steps` steps."""
    import pandas as pd

    side, torch, scores = experiment.manual, experiment.torch, Scores(experiment, steps)
    params: Any = experiment.weights
    states: Any = {}
    buffers = side.graph.buffers
    torch.load(experiment.weights, buffers)
    rows = []
    with np.errstate(all="ignore"):
        scores.add(0, params, buffers)
        for number, batch in zip(range(steps), experiment.batches(steps), strict=True):
            x, target = experiment.rows(batch)
            lr = experiment.lr(number)
            with torchs_own():
                loss = torch.forward_backward(torch.tensor(x), torch.tensor(target))
            done = side.forward_backward(params, x, target, buffers=buffers, noise=torch.noise())
            buffers = done.tape.buffers
            params = {**params, **side.graph.rewritten(done.tape)}
            params, states = side.update(params, done.gradients.params, states, lr)
            with torchs_own():
                torch.update(lr)
            rows.append((number, float(done.loss), loss, _distance(params, torch.params())))
            scores.add(number + 1, params, buffers)
            on_step(number + 1)
        shown = pictures(side.graph, params, buffers, experiment.features)
        written = sample(experiment, params, buffers)
    steps_, scored = pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(scores.rows, columns=SCORED)
    return Drift(steps_, scored, shown, written, scores.note())


def _distance(params: dict, theirs: dict) -> float:
    return float(np.max([np.abs(params[name] - theirs[name]).max() for name in theirs]))
