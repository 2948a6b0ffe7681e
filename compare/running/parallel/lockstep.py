"""A step of several workers: what is compared besides what one process has."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.errors import UserError
from compare.judge.quantities import Key, Values, of_exchange
from compare.running.experiment import Experiment
from compare.running.lockstep import Lockstep
from compare.running.moment import Start
from manual.parallel.workers import target_of

__all__ = ["ParallelLockstep"]


class ParallelLockstep(Lockstep):
    """Every worker's own tensors, and its gradients after the exchange."""

    works = asks = False

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.params = dict(experiment.weights)  # as cut by hand: torch's workers cut by themselves
        self.cut = experiment.torch.params()

    def _started(self, x: Any, target: Any, lr: float, *, input_grad: bool) -> tuple[Start, float]:
        """As in every lockstep; but nothing can be compared on other rows.

        Raises:
            UserError: a worker was dealt other rows than torch's took.
        """
        found = super()._started(x, target, lr, input_grad=input_grad)
        experiment: Any = self.experiment
        for worker, micro, place in experiment.places():
            ours = np.arange(experiment.plan.rows)[place]
            theirs = experiment.torch.rows()[target_of(worker, micro)]
            if not np.array_equal(ours, theirs):
                raise UserError(
                    f"{experiment.config.name}: worker {worker} is dealt {_rows(ours)} of a batch "
                    f"by hand, where torch's takes {_rows(theirs)}: see manual/parallel/plan.py."
                )
        return found

    def cut_otherwise(self) -> str:
        """Say which part of the weights is another than torch's worker cut for itself, if one is.

        Which the first step shows: all others start from torch's.
        """
        ours = self.experiment.weights
        name = next((n for n, own in self.cut.items() if not np.array_equal(own, ours[n])), None)
        return "" if name is None else (
            f"The part of the weights called '{name}' is another than torch's worker cut for "
            "itself: see manual/parallel/tensor.py."
        )  # fmt: skip

    def _torch_values(self, loss: float, lr: float) -> Values:
        side: Any = self.experiment.torch
        if side.plan.split:
            return super()._torch_values(loss, lr)
        reduced = of_exchange(side.reduced())
        return super()._torch_values(loss, lr) | reduced

    def _keys(self, manual: Values, torch: Values, inputs: tuple[str, ...]) -> list[Key]:
        """Put the exchanged gradients before the update."""
        found = super()._keys(manual, torch, inputs)
        side: Any = self.experiment.torch
        if side.plan.split:
            return found
        first = next(i for i, key in enumerate(found) if key.quantity.startswith("param:"))
        return [*found[:first], *of_exchange(self.params), *found[first:]]


def _rows(rows: np.ndarray) -> str:
    return f"rows {rows[0]} to {rows[-1]}" if rows.size else "no rows"
