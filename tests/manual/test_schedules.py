"""Learning-rate schedules against torch's, and their shape."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.schedules import Constant, Cosine, Schedule, Step, Warmup
from torch_ref.schedules import rates as scheduled

many = settings(derandomize=True, deadline=None, max_examples=25)


def torch_rates(scheduler: str, lr: float, steps: int, **args: Any) -> list[float]:
    """Return the learning rates that torch's scheduler gives steps 0, 1, 2, …"""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=lr)
    schedule = getattr(torch.optim.lr_scheduler, scheduler)(optimizer, **args)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def rates(schedule: Schedule, lr: float, steps: int) -> list[float]:
    return [lr * schedule.factor(step) for step in range(steps)]


@many
@given(step_size=st.integers(1, 7), gamma=st.floats(0.1, 1.5), lr=st.floats(0.01, 1.0))
def test_step_is_torchs_step_lr(step_size: int, gamma: float, lr: float) -> None:
    theirs = torch_rates("StepLR", lr, 30, step_size=step_size, gamma=gamma)

    assert rates(Step(step_size, gamma), lr, 30) == pytest.approx(theirs, rel=1e-13)


@many
@given(total=st.integers(2, 40), minimum=st.floats(0.0, 1.0), lr=st.floats(0.01, 1.0))
def test_cosine_is_torchs_cosine_annealing_up_to_its_minimum(
    total: int, minimum: float, lr: float
) -> None:
    theirs = torch_rates("CosineAnnealingLR", lr, total + 1, T_max=total, eta_min=minimum * lr)

    assert rates(Cosine(total, minimum), lr, total + 1) == pytest.approx(
        theirs, rel=1e-9, abs=1e-13
    )


@pytest.mark.parametrize(
    "wrong",
    [
        Step(3, 0.2),  # other factor
        Step(4, 0.5),  # falls one step late
        Cosine(10),  # another curve
    ],
)
def test_a_wrong_step_schedule_is_caught(wrong: Schedule) -> None:
    theirs = torch_rates("StepLR", 0.1, 12, step_size=3, gamma=0.5)

    assert rates(Step(3, 0.5), 0.1, 12) == pytest.approx(theirs, rel=1e-13)
    assert rates(wrong, 0.1, 12) != pytest.approx(theirs, rel=1e-13)


@pytest.mark.parametrize("wrong", [Cosine(9, 0.1), Cosine(11, 0.1), Cosine(10), Constant()])
def test_a_wrong_cosine_schedule_is_caught(wrong: Schedule) -> None:
    theirs = torch_rates("CosineAnnealingLR", 0.5, 11, T_max=10, eta_min=0.05)

    assert rates(Cosine(10, 0.1), 0.5, 11) == pytest.approx(theirs, rel=1e-9)
    assert rates(wrong, 0.5, 11) != pytest.approx(theirs, rel=1e-9)


def torch_warmup(warmup: int, total: int, lr: float, start: float, minimum: float) -> list[float]:
    steps = {"warmup_steps": warmup, "total_steps": total}
    return scheduled("Warmup", steps | {"start_factor": start, "min_factor": minimum}, lr, total)


@many
@given(warmup=st.integers(1, 9), rest=st.integers(1, 20), start=st.floats(0.01, 1.0),
       minimum=st.floats(0.0, 1.0))  # fmt: skip
def test_warmup_is_torchs_linear_and_then_its_cosine(
    warmup: int, rest: int, start: float, minimum: float
) -> None:
    theirs = torch_warmup(warmup, warmup + rest, 0.3, start, minimum)

    mine = rates(Warmup(warmup, warmup + rest, start, minimum), 0.3, warmup + rest)
    assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(
    "wrong", [Warmup(4, 12, 0.2), Warmup(5, 11, 0.2), Warmup(5, 12, 0.1), Warmup(5, 12, 0.2, 0.1)]
)
def test_a_wrong_warmup_is_caught(wrong: Schedule) -> None:
    assert rates(wrong, 0.1, 12) != pytest.approx(torch_warmup(5, 12, 0.1, 0.2, 0.0), rel=1e-9)


@pytest.mark.parametrize("wrong", [(0, 5), (5, 5), (2, 5, 0.0), (2, 5, 1.5), (2, 5, 0.1, -0.1)])
def test_a_warmup_that_cannot_be_is_refused(wrong: tuple) -> None:
    with pytest.raises(ValueError, match="Warmup: "):
        Warmup(*wrong)


def test_constant_is_always_one() -> None:
    assert rates(Constant(), 0.1, 5) == [0.1] * 5


def test_cosine_starts_at_one_is_half_way_in_the_middle_and_stays_at_its_minimum() -> None:
    cosine = Cosine(10, 0.2)

    assert cosine.factor(0) == 1.0
    assert cosine.factor(5) == pytest.approx(0.6)
    assert [cosine.factor(step) for step in (10, 11, 1000)] == [0.2] * 3


@pytest.mark.parametrize("schedule", [Constant(), Step(2), Cosine(5, 1)])
def test_a_factor_is_a_plain_float_that_depends_on_the_step_alone(schedule: Schedule) -> None:
    forwards = [schedule.factor(step) for step in range(8)]
    backwards = [schedule.factor(step) for step in reversed(range(8))]

    assert forwards == backwards[::-1]
    assert {type(factor) for factor in forwards} == {float}


def test_a_step_gamma_of_zero_switches_the_rate_off() -> None:
    assert [Step(2, 0).factor(step) for step in range(4)] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Step(0), "Step: step_size must be at least 1, received 0"),
        (lambda: Step(1, -0.1), "Step: gamma must be at least 0, received -0.1"),
        (lambda: Cosine(0), "Cosine: total_steps must be at least 1, received 0"),
        (lambda: Cosine(5, math.nan), "Cosine: min_factor must be at least 0, received nan"),
    ],
)
def test_a_bad_argument_is_named(build: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build()
