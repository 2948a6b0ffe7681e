"""The other torch's steps: from where this torch's step started, judged by the same judge."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.running.experiment import Experiment
from compare.running.lockstep import Lockstep, Step

__all__ = ["OtherLockstep"]


class OtherLockstep(Lockstep):
    """Runs the other torch's steps and judges them against the hand-written side.

    Args:
        experiment: whose torch is an `OtherSide`.
        first: this torch's lockstep, which leads: it has run the same step already.
    """

    works = False

    def __init__(self, experiment: Experiment, first: Lockstep) -> None:
        self.first = first
        super().__init__(experiment)

    def step(self, number: int, batch: np.ndarray) -> Step:
        """Run, compare and judge the step that this torch has just run."""
        start = self.first.start
        assert start is not None
        side: Any = self.experiment.torch
        side.begin(start)
        self.params, self.states, self.buffers = start.params, start.states, start.buffers
        return super().step(number, batch)

    def resynchronise(self) -> None:
        """Nothing: the next step starts where this torch's does."""
