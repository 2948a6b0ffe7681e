"""A free run: both sides from the same weights and never re-synchronised.

It shows how far two correct programs drift apart, and is a diagnostic, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.running.experiment import Experiment
from compare.running.refusal import torchs_own

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["step", "loss_manual", "loss_torch", "max_param_diff"]


def free_run(experiment: Experiment, steps: int, on_step: Callable[[int], Any]) -> pd.DataFrame:
    """Train both sides on the same batches for `steps` steps; return losses and distance."""
    import pandas as pd

    side, torch = experiment.manual, experiment.torch
    torch.load(experiment.weights)
    params: Any = experiment.weights
    states: Any = {}
    rows = []
    with np.errstate(all="ignore"):
        for number, batch in zip(range(steps), experiment.batches(), strict=False):
            x, target = experiment.rows(batch)
            lr = experiment.lr(number)
            with torchs_own():
                loss = torch.forward_backward(torch.tensor(x), torch.tensor(target))
            done = side.forward_backward(params, x, target, noise=torch.noise())
            params, states = side.update(params, done.gradients.params, states, lr)
            with torchs_own():
                torch.update(lr)
            rows.append((number, float(done.loss), loss, _distance(params, torch.params())))
            on_step(number + 1)
    return pd.DataFrame(rows, columns=COLUMNS)


def _distance(params: dict, theirs: dict) -> float:
    return float(np.max([np.abs(params[name] - theirs[name]).max() for name in theirs]))
