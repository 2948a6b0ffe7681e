"""Learning-rate schedules beside torch's, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import Arguments


@dataclass(frozen=True)
class ScheduleCheck(FixedCheck):
    """One schedule, step by step, beside torch.optim.lr_scheduler's."""

    type: str
    arguments: Arguments = ()
    steps: int = 12

    @property
    def name(self) -> str:
        return f"{self.type}({', '.join(f'{k}={v}' for k, v in self.arguments)})"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        schedule = getattr(import_module("manual"), self.type)(**dict(self.arguments))
        factors = [np.float64(schedule.factor(step)) for step in range(self.steps)]
        return {Key(f"step {i}", "factor"): f for i, f in enumerate(factors)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch
        from torch.optim import lr_scheduler as torch_schedules

        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        given = dict(self.arguments)
        if self.type == "Cosine":
            last = given["total_steps"]
            low = {"eta_min": given["min_factor"]} if "min_factor" in given else {}
            schedule: Any = torch_schedules.CosineAnnealingLR(optimizer, last, **low)
        elif self.type == "Warmup":
            last, schedule = given["total_steps"], _warmup(torch_schedules, optimizer, **given)
        elif self.type == "Step":
            last, schedule = self.steps, torch_schedules.StepLR(optimizer, **given)
        else:
            last, schedule = self.steps, torch_schedules.ConstantLR(optimizer, factor=1.0)
        factors = []
        for step in range(self.steps):
            factors.append(np.float64(schedule.get_last_lr()[0]))
            optimizer.step()
            if step < last:  # torch's cosine rises again afterwards, ours stays
                schedule.step()
        return {Key(f"step {i}", "factor"): f for i, f in enumerate(factors)}


def _warmup(
    schedules: Any, optimizer: Any, warmup_steps: int, total_steps: int,
    start_factor: float = 0.1, min_factor: float = 0.0,
) -> Any:  # fmt: skip
    rising = schedules.LinearLR(optimizer, start_factor, total_iters=warmup_steps)
    rest = total_steps - warmup_steps
    falling = schedules.CosineAnnealingLR(optimizer, rest, eta_min=min_factor)
    return schedules.SequentialLR(optimizer, [rising, falling], milestones=[warmup_steps])


@cache
def schedule_checks() -> list[Check]:
    """Return every schedule with its options."""
    schedules: list[tuple[str, dict[str, Any]]] = [
        ("Constant", {}), ("Step", {"step_size": 3}), ("Step", {"step_size": 4, "gamma": 0.5}),
        ("Cosine", {"total_steps": 8}), ("Cosine", {"total_steps": 7, "min_factor": 0.25}),
        ("Warmup", {"warmup_steps": 3, "total_steps": 9}),
        ("Warmup", {"warmup_steps": 4, "total_steps": 11, "start_factor": 0.3, "min_factor": 0.2}),
    ]  # fmt: skip
    return [ScheduleCheck(name, tuple(given.items())) for name, given in schedules]
