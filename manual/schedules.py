"""Learning-rate schedules: a factor of the optimiser's own rate, as a function of the step.

Nothing is remembered between steps, so both sides of a comparison are given the same number:
`optimizer.step(params, grads, states, lr=optimizer.lr * schedule.factor(step))`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from manual.arguments import Checked

__all__ = ["Constant", "Cosine", "Schedule", "Step", "Warmup"]


class Schedule(Checked, ABC):
    """A learning rate over time, relative to the optimiser's own."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return what multiplies the learning rate at `step` = 0, 1, 2, …"""


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate at every step."""

    def factor(self, step: int) -> float:
        """Return 1."""
        return 1.0


@final
@dataclass(frozen=True)
class Step(Schedule):
    """The learning rate is multiplied by gamma once every `step_size` steps.

    Args:
        step_size: how many steps one rate lasts.
        gamma: γ, the factor between one rate and the next.

    Raises:
        ValueError: step_size is below 1, or gamma is negative.
    """

    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _at_least("Step", "step_size", self.step_size, 1)
        _at_least("Step", "gamma", self.gamma, 0)

    def factor(self, step: int) -> float:
        """Return γ^⌊step / step_size⌋. Torch: lr_scheduler.StepLR."""
        return float(self.gamma) ** (step // self.step_size)


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """The learning rate falls along half a cosine, then stays at its minimum.

    Args:
        total_steps: T, the step at which the minimum is reached.
        min_factor: f, the minimum, relative to the first rate.

    Raises:
        ValueError: total_steps is below 1, or min_factor is negative.
    """

    total_steps: int
    min_factor: float = 0.0

    def __post_init__(self) -> None:
        _at_least("Cosine", "total_steps", self.total_steps, 1)
        _at_least("Cosine", "min_factor", self.min_factor, 0)

    def factor(self, step: int) -> float:
        r"""Return f + (1 - f) (1 + cos(π step / T)) / 2, and f from step T on.

        The cosine runs from 1 to -1, flat at both ends, so (1 + cos) / 2 runs from 1 to 0.
        Torch: lr_scheduler.CosineAnnealingLR with T_max = T, eta_min = f · lr. It computes each
        rate from the one before, and rises again after T.
        Source: Loshchilov, Hutter, SGDR, 2017, equation 5 without restarts.
        """
        if step >= self.total_steps:
            return float(self.min_factor)
        fallen = (1 + math.cos(math.pi * step / self.total_steps)) / 2
        return self.min_factor + (1 - self.min_factor) * fallen


@final
@dataclass(frozen=True)
class Warmup(Schedule):
    """The learning rate first rises along a line, then falls along half a cosine.

    Args:
        warmup_steps: w, the step at which the optimiser's own rate is reached.
        total_steps: T, the step at which the minimum is reached.
        start_factor: s, the first rate, relative to the optimiser's own.
        min_factor: f, the minimum, relative to the optimiser's own.

    Raises:
        ValueError: warmup_steps is below 1, total_steps not above it, start_factor not above 0 or
            above 1, or min_factor is negative.
    """

    warmup_steps: int
    total_steps: int
    start_factor: float = 0.1
    min_factor: float = 0.0

    def __post_init__(self) -> None:
        _at_least("Warmup", "warmup_steps", self.warmup_steps, 1)
        _at_least("Warmup", "total_steps", self.total_steps, self.warmup_steps + 1)
        _at_least("Warmup", "min_factor", self.min_factor, 0)
        if not 0 < self.start_factor <= 1:
            raise ValueError(
                "Warmup: start_factor must be above 0 and at most 1, received "
                f"{self.start_factor!r}."
            )

    def factor(self, step: int) -> float:
        r"""Return s + (1 - s) step / w up to w, then the factor of `Cosine` over T - w steps.

        The first steps are short: Adam's averages of squares are then still of few gradients.
        Torch: lr_scheduler.SequentialLR of LinearLR and CosineAnnealingLR, milestone w.
        Source: Vaswani et al., Attention Is All You Need, 2017, section 5.3 (the warm-up).
        """
        w, s = self.warmup_steps, self.start_factor
        risen = s + (1 - s) * min(step / w, 1)
        return risen * Cosine(self.total_steps - w, self.min_factor).factor(max(step - w, 0))


def _at_least(schedule: str, name: str, value: float, bound: float) -> None:
    if not value >= bound:  # rejects nan too
        raise ValueError(f"{schedule}: {name} must be at least {bound}, received {value!r}.")
