"""A step of several workers: what is compared besides what one process has."""

from __future__ import annotations

from typing import Any

from compare.judge.quantities import Key, Values, of_exchange
from compare.running.lockstep import Lockstep

__all__ = ["ParallelLockstep"]


class ParallelLockstep(Lockstep):
    """Every worker's own tensors, and its gradients after the exchange."""

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
