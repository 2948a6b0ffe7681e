"""Torch's learning-rate schedulers, by the names that descriptions use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler


def _step(optimizer: Any, lr: float, step_size: int, gamma: float = 0.1) -> Any:
    return lr_scheduler.StepLR(optimizer, step_size, gamma)


def _cosine(optimizer: Any, lr: float, total_steps: int, min_factor: float = 0.0) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, total_steps, min_factor * lr)


def _warmup(
    optimizer: Any, lr: float, warmup_steps: int, total_steps: int,
    start_factor: float = 0.1, min_factor: float = 0.0,
) -> Any:  # fmt: skip
    parts = [
        lr_scheduler.LinearLR(optimizer, start_factor, total_iters=warmup_steps),
        _cosine(optimizer, lr, total_steps - warmup_steps, min_factor),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup_steps])


SCHEDULERS: Mapping[str, Any] = {"Step": _step, "Cosine": _cosine, "Warmup": _warmup}


def rates(name: str, args: Mapping[str, Any], lr: float, steps: int) -> list[float]:
    """Return the learning rate of every step.

    A cosine is followed to its minimum only: after that torch's rises again.

    Raises:
        KeyError: torch has no scheduler under this name.
    """
    optimizer: Any = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler: Any = SCHEDULERS[name](optimizer, lr, **args)
    found = []
    for _ in range(min(steps, args.get("total_steps", steps))):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found
