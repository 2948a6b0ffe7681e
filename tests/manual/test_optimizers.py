"""Every optimiser against torch's, with all its options; the textbook's formulas beside them.

The textbook is a second opinion, and takes mistakes that the same comparison must catch.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.gauge import K, gauge, gauging, parts
from manual import optimizers
from manual.optimizers import SGD, Adam, RMSprop, Rprop
from manual.registry import OPTIMIZERS
from tests.manual.optimizer_checks import (
    CLASSES,
    DTYPES,
    SINGLE,
    STEPS,
    budget_used,
    compared,
    problem,
    rates,
    run_gauged,
    run_manual,
    run_torch,
)
from tests.manual.optimizer_textbook import TEXTBOOK, Textbook
from torch_ref import optimizers as torch_optimizers

number = lambda low, high: st.floats(low, high)  # noqa: E731


maybe = lambda low, high: st.just(0.0) | number(low, high)  # noqa: E731


beta = st.floats(0.0, 0.99)


adam_options = {
    "lr": number(1e-3, 0.125),
    "betas": st.tuples(beta, beta),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
    "weight_decay": maybe(1e-3, 0.5),
    "amsgrad": st.booleans(),
}
OPTIONS: dict[str, dict[str, st.SearchStrategy]] = {
    "SGD": {
        "lr": number(1e-3, 0.125),
        "momentum": maybe(0.125, 0.875),
        "dampening": maybe(0.125, 0.875),
        "weight_decay": maybe(1e-3, 0.5),
        "nesterov": st.booleans(),
    },
    "Adagrad": {
        "lr": number(1e-3, 0.125),
        "lr_decay": maybe(1e-3, 0.5),
        "weight_decay": maybe(1e-3, 0.5),
        "initial_accumulator_value": maybe(1e-3, 2.0),
        "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
    },
    "RMSprop": {
        "lr": number(1e-3, 0.125),
        "alpha": st.floats(0.5, 0.99),
        "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
        "weight_decay": maybe(1e-3, 0.5),
        "momentum": maybe(0.125, 0.875),
        "centered": st.booleans(),
    },
    "Adam": adam_options | {"maximize": st.booleans(), "decoupled_weight_decay": st.booleans()},
    "AdamW": adam_options | {"maximize": st.booleans()},
    "Adadelta": {
        "lr": number(1e-3, 1.0),
        "rho": st.floats(0.0, 0.99),
        "eps": st.sampled_from([1e-6, 1e-3]),
        "weight_decay": maybe(1e-3, 0.5),
        "maximize": st.booleans(),
    },
    "Adafactor": {
        "lr": number(1e-3, 0.5),
        "beta2_decay": number(-1.0, 0.0),
        "eps": st.sampled_from([(None, 1e-3), (1e-4, 0.5)]),
        "d": number(1.0, 2.0),
        "weight_decay": maybe(1e-3, 0.5),
        "maximize": st.booleans(),
    },
    "Adamax": {k: v for k, v in adam_options.items() if k != "amsgrad"},
    "ASGD": {
        "lr": number(1e-3, 0.125),
        "lambd": maybe(1e-4, 0.5),
        "alpha": number(0.25, 1.0),
        "t0": st.sampled_from([0.0, 3.0, 1e6]),
        "weight_decay": maybe(1e-3, 0.5),
    },
    "NAdam": {
        **{k: v for k, v in adam_options.items() if k != "amsgrad"},
        "momentum_decay": maybe(1e-3, 0.5),
        "decoupled_weight_decay": st.booleans(),
    },
    "RAdam": {
        **{k: v for k, v in adam_options.items() if k != "amsgrad"},
        "decoupled_weight_decay": st.booleans(),
    },
    "Rprop": {
        "lr": number(1e-3, 0.125),
        "etas": st.tuples(st.floats(0.125, 0.875), st.floats(1.125, 2.0)),
        "step_sizes": st.sampled_from([(1e-6, 50.0), (0.01, 0.1)]),
        "maximize": st.booleans(),
    },
}


def legal(name: str, args: dict[str, Any]) -> dict[str, Any]:
    if name == "SGD" and args["nesterov"]:
        return {**args, "momentum": args["momentum"] or 0.5, "dampening": 0.0}
    return args


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CLASSES)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(data=st.data())
def test_agrees_with_torch_for_any_options_and_shape(name: str, dtype: Any, data: Any) -> None:
    args = legal(name, data.draw(st.fixed_dictionaries(OPTIONS[name])))
    shape = data.draw(st.sampled_from([(1,), (5,), (2, 3), (3, 1, 2), (4, 4)]))
    params, grads = problem(shape, dtype, data.draw(st.integers(0, 1000)))
    lrs = rates(args["lr"])

    optimizer = CLASSES[name](**args)
    ours = run_manual(optimizer, params, grads, lrs)
    theirs = run_torch(name, args, params, grads, lrs)
    tolerances = run_gauged(optimizer, params, grads, lrs, np.dtype(dtype))
    for mine, other, tolerance in zip(ours, theirs, tolerances, strict=True):
        assert mine.keys() == other.keys() == tolerance.keys()
        for key, allowed in tolerance.items():
            difference = np.abs(np.subtract(mine[key], other[key], dtype=np.float64))
            assert (difference <= allowed).all(), key

    for step in ours:
        assert {v.dtype for k, v in step.items() if not k.endswith(SINGLE)} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_and_argument_names_are_torchs(name: str) -> None:
    ours = inspect.signature(CLASSES[name]).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters

    assert {k: p.default for k, p in ours.items()} == {k: theirs[k].default for k in ours}
    assert list(ours) == [k for k in theirs if k in ours]
    assert set(theirs) - set(ours) == {"params", *CLASSES[name].implementations}


@pytest.mark.parametrize("name", CLASSES)
def test_a_zero_gradient_from_the_start_leaves_the_parameter(name: str) -> None:
    params = {"w": np.array([1.0, -2.0, 0.5])}
    zero = [{"w": np.zeros(3)}] * STEPS
    args: dict[str, Any] = {"ASGD": {"lambd": 0.0}, "AdamW": {"weight_decay": 0.0}}.get(name, {})

    ours = run_manual(CLASSES[name](**args), params, zero, rates(0.1))

    assert budget_used(ours, run_torch(name, args, params, zero, rates(0.1))) == 0
    np.testing.assert_array_equal(ours[-1]["w"], params["w"])


@pytest.mark.parametrize("amsgrad", [False, True])
def test_huge_and_tiny_float32_gradients_agree_with_torch(amsgrad: bool) -> None:
    params = {"w": np.ones(3, np.float32)}
    grads = [{"w": np.array([1e19, 1e-30, -1e5], np.float32) * np.float32(k)} for k in range(1, 21)]

    ours = run_manual(Adam(amsgrad=amsgrad), params, grads, rates(0.01))

    theirs = run_torch("Adam", {"amsgrad": amsgrad}, params, grads, rates(0.01))
    assert all(np.isfinite(v).all() for v in ours[-1].values())
    assert budget_used(ours, theirs) < 1


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_on_integers_with_power_of_two_rates_is_bitwise_torchs(
    dtype: Any, momentum: float
) -> None:
    rng = np.random.default_rng(0)
    params = {"w": rng.integers(-8, 9, (4, 3)).astype(dtype)}
    grads = [{"w": rng.integers(-8, 9, (4, 3)).astype(dtype)} for _ in range(5)]
    args: dict[str, Any] = {
        "momentum": momentum,
        "weight_decay": 0.25,
        "nesterov": momentum > 0,
    }
    lrs = [2.0**-k for k in range(1, 6)]

    ours = run_manual(SGD(**args), params, grads, lrs)

    for mine, theirs in zip(ours, run_torch("SGD", args, params, grads, lrs), strict=True):
        assert {k: v.tobytes() for k, v in mine.items()} == {
            k: v.tobytes() for k, v in theirs.items()
        }


def test_a_constant_centered_gradient_stays_finite_where_the_variance_rounds_below_zero() -> None:
    params = {"w": np.full(50, 1.0)}
    grads = [{"w": np.linspace(0.1, 3.0, 50)}] * 200

    history = run_manual(RMSprop(alpha=0.5, centered=True, lr=1e-12), params, grads, [1e-12] * 200)

    assert np.isfinite(history[-1]["w"]).all()


@pytest.mark.parametrize(("name", "rule", "args"), [row[:3] for row in TEXTBOOK])
def test_the_textbook_formula_agrees_with_torch(name: str, rule: Any, args: dict) -> None:
    assert compared(Textbook(rule, args, None), name, args, np.float64) < 1
    assert compared(CLASSES[name](**args), name, args, np.float64) < 1


@pytest.mark.parametrize(
    ("name", "rule", "args", "mistake"),
    [(*row[:3], mistake) for row in TEXTBOOK for mistake in row[3]],
)
def test_a_planted_mistake_is_caught(name: str, rule: Any, args: dict, mistake: str) -> None:
    assert compared(Textbook(rule, args, mistake), name, args, np.float64) > 100


def test_every_optimiser_of_the_package_is_tested_here() -> None:
    assert set(optimizers.__all__) - {"Optimizer", "SparseGradient"} == set(OPTIMIZERS)
    assert set(torch_optimizers.OPTIMIZERS) == set(OPTIMIZERS)
    assert set(OPTIMIZERS) - set(CLASSES) == {
        "LBFGS",
        "Muon",
        "SparseAdam",
    }  # in files of their own
    assert set(OPTIMIZERS) == {
        n
        for n, cls in vars(torch.optim).items()
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and n != "Optimizer"
    }


def test_what_a_sign_decides_is_in_doubt_where_rounding_may_turn_it() -> None:
    sure, unsure = np.array([1.0, -2.0]), np.array([1.0, 1.0])
    with gauging(np.dtype(np.float64)):
        one = gauge(unsure) * 1.0
        state = Rprop(lr=0.5).update(gauge(sure), one - one, {}, 0.5)[0]
        kept = Rprop(lr=0.5).update(gauge(sure), one, {}, 0.5)[0]

    def reach(a: Any) -> float:
        return float(np.max(K * 2.0**-53 * np.sqrt(parts(a)[1])))

    assert reach(state) >= 1.0  # the step to the other side
    assert reach(kept) < 1e-12
