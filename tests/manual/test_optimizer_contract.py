"""What every optimiser keeps to: fresh memory, torch's state, gauge arrays; what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from compare.gauge import gauge, gauging
from manual.optimizers import SGD, Adam
from manual.registry import OPTIMIZERS
from tests.manual.optimizer_checks import (
    CLASSES,
    DTYPES,
    FULL,
    SINGLE,
    VARIANTS,
    budget_used,
    decay,
    flat,
    problem,
    rates,
    run_manual,
    run_torch,
)
from tests.manual.optimizer_textbook import TEXTBOOK, Textbook, sgd
from torch_ref import optimizers as torch_optimizers


@pytest.mark.parametrize(("name", "args"), VARIANTS)
def test_update_changes_no_argument_and_returns_only_fresh_memory(name: str, args: dict) -> None:
    optimizer = CLASSES[name](**args)
    param = np.arange(1.0, 7.0).reshape(2, 3)
    state: dict[str, Any] = {}
    for k in range(3):
        grad = np.full((2, 3), 0.5) * k
        given = [param, grad, *(v for v in state.values() if isinstance(v, np.ndarray))]
        for array in given:
            array.setflags(write=False)
        before = dict(state)

        param, new_state = optimizer.update(param, grad, state, 0.1 * k)

        fresh = [param, *(v for v in new_state.values() if isinstance(v, np.ndarray))]
        everything = given + fresh
        assert state.keys() == before.keys()
        for i, array in enumerate(everything):
            assert not any(np.shares_memory(array, other) for other in everything[i + 1 :])
        state = new_state


def test_the_aliasing_check_would_catch_an_optimiser_that_returns_its_gradient() -> None:
    grad = np.ones(3)
    _, state = Textbook(sgd, TEXTBOOK[0][2] | {"weight_decay": 0.0}, "no decay").update(
        np.ones(3), grad, {}, 0.1
    )

    assert np.shares_memory(state["momentum_buffer"], grad)


@pytest.mark.parametrize(("name", "args"), VARIANTS)
def test_state_names_are_torchs_in_torchs_order(name: str, args: dict) -> None:
    params, grads = problem((2, 3), np.float64, 0)
    ours = run_manual(CLASSES[name](**args), params, grads, rates(0.1))
    theirs = run_torch(name, args, params, grads, rates(0.1))

    assert [set(step) for step in ours] == [set(step) for step in theirs]


@pytest.mark.parametrize(("name", "args"), VARIANTS)
def test_a_step_from_torchs_saved_state_agrees_with_torchs_next_step(name: str, args: dict) -> None:
    """Torch's `step` comes back as a float; the bias correction must not lose digits by it."""
    params, grads = problem((2, 3), np.float64, 1)
    tensors = {k: torch.nn.Parameter(torch.tensor(p)) for k, p in params.items()}
    optimizer = torch_optimizers.build(name, tensors, args)
    mine, theirs = [], []
    for grad in grads:
        states = {
            key: {k: v.item() if v.ndim == 0 else v.numpy().copy() for k, v in state.items()}
            for key, state in torch_optimizers.state_of(optimizer, tensors).items()
        }
        start = {k: t.detach().numpy().copy() for k, t in tensors.items()}
        mine.append(flat(*CLASSES[name](**args).step(start, grad, states)))
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(grad[key])
        optimizer.step()
        theirs.append(flat(tensors, torch_optimizers.state_of(optimizer, tensors)))

    assert budget_used(mine, theirs) < 1


@pytest.mark.parametrize("name", CLASSES)
def test_gauge_arrays_run_through_with_the_plain_values(name: str) -> None:
    optimizer = CLASSES[name](**FULL[name], **decay(name, 0.1))
    params, grads = problem((2, 3), np.float64, 2)
    plain = run_manual(optimizer, params, grads, rates(0.1))

    with gauging(np.dtype(np.float64)):
        measured: dict[str, Any] = {k: gauge(p) for k, p in params.items()}
        states: dict[str, dict] = {}
        for grad, lr in zip(grads, rates(0.1), strict=True):
            measured, states = optimizer.step(
                measured, {k: gauge(g) for k, g in grad.items()}, states, lr
            )

    for key, p in measured.items():
        np.testing.assert_array_equal(p.v, plain[-1][key])
        assert (p.error > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CLASSES)
def test_zero_gradients_get_a_narrow_tolerance_from_the_gauge(name: str, dtype: Any) -> None:
    """The root of 0 has an infinite slope; a pixel that is always 0 must still be judged."""
    zero = {"w": gauge(np.zeros(3))}
    with gauging(np.dtype(dtype)):
        params: dict[str, Any] = {"w": gauge(np.ones(3))}
        states: dict[str, dict] = {}
        for _ in range(3):
            params, states = CLASSES[name](**FULL[name]).step(params, zero, states)

    tolerance = params["w"].tolerance(np.dtype(dtype))
    assert (tolerance < 2000 * np.finfo(dtype).eps).all()


@pytest.mark.parametrize("name", CLASSES)
def test_numpy_numbers_as_settings_do_not_widen_float32(name: str) -> None:
    optimizer = CLASSES[name](lr=np.float64(0.1), **decay(name, np.float64(0.1)))
    w = {"w": np.ones(3, np.float32)}

    params, states = optimizer.step(w, w, {}, lr=np.float64(0.05))

    assert params["w"].dtype == np.float32
    kept = {k: v for k, v in states["w"].items() if f":{k}" not in SINGLE}
    assert all(np.asarray(v).dtype == np.float32 for v in kept.values())


def test_step_takes_the_optimisers_own_rate_unless_told_otherwise() -> None:
    w = {"w": np.array([1.0])}

    assert SGD(lr=0.5).step(w, w, {})[0]["w"] == [0.5]
    assert SGD(lr=0.5).step(w, w, {}, lr=0.25)[0]["w"] == [0.75]
    assert SGD(lr=0.5).step(w, w, {}, lr=0.0)[0]["w"] == [1.0]


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("name", CLASSES)
def test_a_parameter_without_a_gradient_rests_as_in_torch(name: str) -> None:
    params, grads = problem((2, 3), np.float64, 4)
    optimizer = CLASSES[name]()
    tensors = {k: torch.nn.Parameter(torch.tensor(p)) for k, p in params.items()}
    theirs = torch_optimizers.build(name, tensors, {})
    states: dict[str, dict] = {}
    for number, grad in enumerate(grads[:3]):
        if number != 1:
            grad.pop("0.bias")
        params, states = optimizer.step(params, grad, states)
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(grad[key]) if key in grad else None
        theirs.step()
        found = torch_optimizers.state_of(theirs, tensors)
        if name == "Adagrad" and number == 0:  # torch fills the state when it is built
            found["0.bias"] = {}

        assert budget_used([flat(params, states)], [flat(tensors, found)]) < 1


def test_a_gradient_under_a_wrong_name_is_no_parameter_that_rests() -> None:
    w = np.ones(2)
    with pytest.raises(ValueError, match=r"'1\.bias' would stay .* a gradient of '1\.bais'"):
        Adam().step({"1.weight": w, "1.bias": w}, {"1.weight": w, "1.bais": w}, {})


@pytest.mark.parametrize("shape", [(3, 2), (1, 3), (2, 2, 3), (3,)])
def test_a_gradient_that_would_broadcast_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"gradient of 'w' must have the parameter's shape \(2, 3"):
        SGD().step({"w": np.ones((2, 3))}, {"w": np.ones(shape)}, {})


@pytest.mark.parametrize(
    ("name", "args", "named"),
    [
        *((name, {"lr": -0.1}, "lr") for name in CLASSES),
        *((name, {"weight_decay": -0.1}, "weight_decay") for name in CLASSES if name != "Rprop"),
        ("SGD", {"momentum": -0.5}, "momentum"),
        ("SGD", {"nesterov": True}, "nesterov"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening"),
        ("Adagrad", {"lr_decay": -1.0}, "lr_decay"),
        ("Adagrad", {"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
        ("Adagrad", {"eps": -1e-8}, "eps"),
        ("RMSprop", {"alpha": -0.1}, "alpha"),
        ("RMSprop", {"momentum": -0.1}, "momentum"),
        ("RMSprop", {"eps": float("nan")}, "eps"),
        ("Adam", {"betas": (1.0, 0.9)}, "betas"),
        ("Adam", {"betas": (0.9, -0.1)}, "betas"),
        ("Adam", {"betas": (0, 1)}, "betas"),
        ("AdamW", {"betas": (0.9, 1.0)}, "betas"),
        ("AdamW", {"eps": -1.0}, "eps"),
        ("Adadelta", {"rho": 1.5}, "rho"),
        ("Adadelta", {"rho": -0.5}, "rho"),
        ("Adafactor", {"beta2_decay": 0.5}, "beta2_decay"),
        ("Adafactor", {"d": 0.5}, "d must be"),
        ("Adafactor", {"eps": (None, -1.0)}, "eps"),
        ("Adafactor", {"eps": (-1.0, 1.0)}, "eps"),
        ("NAdam", {"momentum_decay": -0.5}, "momentum_decay"),
        ("Rprop", {"etas": (0.5, 0.75)}, "etas"),
        ("Rprop", {"etas": (0.0, 1.5)}, "etas"),
        ("SparseAdam", {"lr": 0.0}, "lr"),
        ("SparseAdam", {"eps": 0.0}, "eps"),
        ("SparseAdam", {"betas": (0.5, 1.0)}, "betas"),
        ("Muon", {"momentum": -0.5}, "momentum"),
        ("Muon", {"adjust_lr_fn": "largest"}, "adjust_lr_fn"),
        ("LBFGS", {"lr": -1.0}, "lr"),
        *((name, {"lr": np.ones(2)}, "lr must be a number") for name in ("Rprop", "LBFGS")),
    ],
)
def test_arguments_that_torch_refuses_are_refused_by_name(
    name: str, args: dict, named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*{named}"):
        OPTIMIZERS[name](**args)
    given = {key: torch.tensor(v) if isinstance(v, np.ndarray) else v for key, v in args.items()}
    with pytest.raises(ValueError):  # noqa: PT011
        torch_optimizers.build(name, {"w": torch.nn.Parameter(torch.ones(1, 1))}, given)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("SGD", {"dampening": None, "momentum": 0.9}, "dampening must be a number, received None"),
        ("Adam", {"betas": 0.9}, "betas must be two floats in .* received 0.9"),
        ("AdamW", {"betas": ("a", 0.9)}, "betas must be two floats"),
        ("Rprop", {"etas": 0.5}, "etas must be two numbers, received 0.5"),
        ("Rprop", {"step_sizes": None}, "step_sizes must be two numbers, received None"),
        ("Adafactor", {"eps": 1e-3}, "eps must be two numbers .* received 0.001"),
        ("Adafactor", {"eps": ("a", 1e-3)}, "eps must be two numbers"),
        ("Adafactor", {"eps": (1e-3, None)}, "eps must be two numbers"),
        ("Adafactor", {"eps": (None, 1e-3, 1e-3)}, "eps must be two numbers"),
        ("Muon", {"ns_coefficients": 3.0}, "ns_coefficients must be three numbers, received 3.0"),
    ],
)
def test_what_is_no_number_or_not_several_is_refused_in_words(
    name: str, args: dict, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}: {message}"):
        OPTIMIZERS[name](**args)
    w = torch.nn.Parameter(torch.ones(2, 2))
    w.grad = torch.ones(2, 2)

    def two_steps() -> None:
        theirs = torch_optimizers.build(name, {"w": w}, args)
        theirs.step()
        theirs.step()

    with pytest.raises((TypeError, ValueError)):
        two_steps()


def test_an_optimiser_shows_its_settings_and_cannot_be_changed() -> None:
    assert repr(SGD(lr=0.1, momentum=0.9)).startswith("SGD(lr=0.1, momentum=0.9, dampening=0.0")
    with pytest.raises(AttributeError):
        SGD().lr = 1.0  # type: ignore[misc]
