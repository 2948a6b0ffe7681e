"""Every optimiser against torch's, fed the same gradients, with its state running free.

Twenty steps, a changing learning rate, weight decay, and gradients from 1e-6 to 1e2: at a constant
rate and scale several wrong formulas look right. The textbook functions below are a second opinion,
and each takes mistakes that the same comparison must catch.
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
from manual.optimizers import SGD, Adam, Optimizer, RMSprop, Rprop
from manual.registry import OPTIMIZERS
from manual.schedules import Cosine
from torch_ref import optimizers as torch_optimizers

STEPS = 20
CLASSES: dict[str, Any] = {  # those that move parameters of all shapes by dense gradients
    name: cls for name, cls in OPTIMIZERS.items() if not cls.needs and not cls.matrices_only
}
SINGLE = (":step", ":eta", ":mu", ":mu_product")  # numbers of the state, float32 in torch
DTYPES = [np.float64, np.float32]


# ---------------------------------------------------------------------------- one run of each side


def problem(shape: tuple[int, ...], dtype: Any, seed: int) -> tuple[dict, list[dict]]:
    """Return parameters, and 20 steps of gradients whose scale changes at every step."""
    rng = np.random.default_rng(seed)

    def draw(*size: int) -> np.ndarray:
        return np.asarray(rng.normal(size=size), np.float32).astype(dtype)

    scales = 10.0 ** rng.uniform(-6, 2, STEPS)
    params = {"0.weight": draw(*shape), "0.bias": draw(3)}
    return params, [{k: dtype(s) * draw(*p.shape) for k, p in params.items()} for s in scales]


def rates(lr: float) -> list[float]:
    return [lr * Cosine(STEPS + 5, 0.1).factor(step) for step in range(STEPS)]


def run_manual(optimizer: Optimizer, params: dict, grads: list[dict], lrs: list[float]) -> list:
    states: dict[str, dict] = {}
    history = []
    for grad, lr in zip(grads, lrs, strict=True):
        params, states = optimizer.step(params, grad, states, lr)
        history.append(flat(params, states))
    return history


def run_gauged(
    optimizer: Optimizer, params: dict, grads: list[dict], lrs: list[float], dtype: np.dtype
) -> list[dict[str, Any]]:
    """Return what rounding may do to every parameter and state by every step."""
    states: dict[str, dict] = {}
    params = {key: gauge(p) for key, p in params.items()}
    history = []
    with gauging(dtype):
        for grad, lr in zip(grads, lrs, strict=True):
            grad = {key: gauge(g) for key, g in grad.items()}
            params, states = optimizer.step(params, grad, states, lr)
            found = dict(params)
            for name, state in states.items():
                found |= {f"{name}:{k}": v for k, v in state.items()}
            history.append(
                {
                    k: v.tolerance(dtype) if hasattr(v, "tolerance") else 0.0
                    for k, v in found.items()
                }
            )
    return history


def run_torch(
    name: str, args: dict[str, Any], params: dict, grads: list[dict], lrs: list[float]
) -> list:
    tensors = {k: torch.nn.Parameter(torch.tensor(p)) for k, p in params.items()}
    optimizer = torch_optimizers.build(name, tensors, args)
    history = []
    for grad, lr in zip(grads, lrs, strict=True):
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(grad[key])
        torch_optimizers.set_lr(optimizer, lr)
        optimizer.step()
        history.append(flat(tensors, torch_optimizers.state_of(optimizer, tensors)))
    return history


def flat(params: dict, states: dict) -> dict[str, np.ndarray]:
    """Return copies of all parameters and states under one key each."""
    found = {name: p.detach().numpy() if torch.is_tensor(p) else p for name, p in params.items()}
    for name, state in states.items():
        found |= {f"{name}:{k}": v.numpy() if torch.is_tensor(v) else v for k, v in state.items()}
    return {key: np.array(value) for key, value in found.items()}


def budget_used(ours: list, theirs: list) -> float:
    """Return the largest difference over 256 u · (the element's largest value so far)."""
    largest: dict[str, Any] = {}
    worst = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for key, value in other.items():
            largest[key] = np.maximum(largest.get(key, 0.0), np.abs(value))
            info = np.finfo(value.dtype if value.ndim else np.float64)
            tolerance = 128 * info.eps * largest[key] + 4 * info.tiny
            difference = np.abs(np.subtract(mine[key], value, dtype=np.float64))
            worst = max(worst, float(np.max(np.nan_to_num(difference / tolerance, nan=np.inf))))
    return worst


def compared(optimizer: Optimizer, name: str, args: dict, dtype: Any, seed: int = 0) -> float:
    params, grads = problem((4, 3), dtype, seed)
    lrs = rates(args.get("lr", optimizer.lr))
    return budget_used(
        run_manual(optimizer, params, grads, lrs), run_torch(name, args, params, grads, lrs)
    )


# ------------------------------------------------------------------------------------ against torch

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


# --------------------------------------------------------------------- textbook, right and mistaken


class Textbook(Optimizer):
    """An optimiser from a plain function `(p, g, state, lr, mistake) -> (p, state)`."""

    def __init__(self, rule: Any, args: dict[str, Any], mistake: str | None) -> None:
        self.rule, self.args, self.mistake = rule, args, mistake
        self.lr = args.get("lr", 0.05)

    def update(self, param: Any, grad: Any, state: dict, lr: float) -> tuple[Any, dict]:
        return self.rule(param, grad, state, lr, self.mistake, **self.args)


def coupled(p: Any, g: Any, wd: float, mistake: str | None) -> Any:
    return g if mistake in ("no decay", "decoupled") else g + wd * p


def sgd(p, g, state, lr, mistake, momentum, dampening, weight_decay, nesterov):
    g = coupled(p, g, weight_decay, mistake)
    shrunk = p * (1 - lr * weight_decay) if mistake == "decoupled" else p
    keep = 1.0 if mistake == "dampening forgotten" else 1 - dampening
    old = state.get("momentum_buffer")
    if mistake == "v = μv + lr·g":
        b = lr * g if old is None else momentum * old + keep * lr * g
        return shrunk - b, {"momentum_buffer": b}
    if old is None:
        b = keep * g if mistake == "dampening on the first step" else g
    else:
        b = momentum * old + keep * g
    ahead = g * 0 if old is None else old
    if mistake != "Nesterov with the old buffer":
        ahead = b
    step = g + momentum * ahead if nesterov else b
    if mistake == "Nesterov on top of momentum":
        step = b + momentum * b
    return shrunk - lr * step, {"momentum_buffer": b}


def adagrad(p, g, state, lr, mistake, lr_decay, weight_decay, initial_accumulator_value, eps):
    g = coupled(p, g, weight_decay, mistake)
    t = state.get("step", 0) + 1
    start = 0.0 if mistake == "sum starts at 0" else initial_accumulator_value
    s = state.get("sum", start) + g**2
    rate = lr / (1 + (t if mistake == "decay counts from step 1" else t - 1) * lr_decay)
    root = np.sqrt(s + eps) if mistake == "eps inside the root" else np.sqrt(s) + eps
    if mistake == "no root":
        root = s + eps
    return p - rate * g / root, {"step": t, "sum": s}


def rmsprop(p, g, state, lr, mistake, alpha, eps, weight_decay, momentum, centered):
    g = coupled(p, g, weight_decay, mistake)
    keep = 1 - alpha if mistake == "alpha the other way round" else alpha
    v = keep * state.get("square_avg", 0.0) + (1 - keep) * g**2
    m = keep * state.get("grad_avg", 0.0) + (1 - keep) * g
    inner = v if mistake == "not centered" else v - m**2
    if mistake == "bias corrected":
        inner = inner / (1 - alpha ** (state.get("step", 0) + 1))
    root = np.sqrt(inner + eps) if mistake == "eps inside the root" else np.sqrt(inner) + eps
    inside = mistake == "rate inside the buffer"
    b = momentum * state.get("momentum_buffer", 0.0) + (lr if inside else 1.0) * g / root
    new_state = {"step": state.get("step", 0) + 1, "square_avg": v}
    return p - (1.0 if inside else lr) * b, {**new_state, "momentum_buffer": b, "grad_avg": m}


def adam(p, g, state, lr, mistake, betas, eps, weight_decay, amsgrad):
    g = coupled(p, g, weight_decay, mistake)
    if mistake == "decoupled":
        p = p * (1 - lr * weight_decay)
    change, new_state = adam_change(g, state, lr, mistake, betas, eps)
    return p + change, new_state


def adamw(p, g, state, lr, mistake, betas, eps, weight_decay, amsgrad):
    if mistake == "coupled":
        return adam(p, g, state, lr, None, betas, eps, weight_decay, amsgrad)
    change, new_state = adam_change(g, state, lr, mistake, betas, eps)
    shrink = 1 - (1.0 if mistake == "decay without the rate" else lr) * weight_decay
    if mistake == "decay after the step":
        return (p + change) * shrink, new_state
    return p * shrink + change, new_state


def adam_change(g, state, lr, mistake, betas, eps):
    b1, b2 = reversed(betas) if mistake == "betas swapped" else betas
    t = state.get("step", 0) + 1
    c1, c2 = 1 - b1**t, 1 - b2**t
    if mistake == "no bias correction":
        c1 = c2 = 1.0
    if mistake == "steps counted from 0":
        c1, c2 = (1 - b1 ** max(t - 1, 1)), (1 - b2 ** max(t - 1, 1))
    m = b1 * state.get("exp_avg", 0.0) + (1 - b1) * g
    v = b2 * state.get("exp_avg_sq", 0.0) + (1 - b2) * g**2
    top = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
    if mistake == "maximum forgotten":
        top = v
    root = np.sqrt(top / c2) + eps
    if mistake == "eps inside the root":
        root = np.sqrt(top / c2 + eps)
    if mistake == "eps before the correction":
        root = (np.sqrt(top) + eps) / np.sqrt(c2)
    new_state = {"step": t, "exp_avg": m, "exp_avg_sq": v, "max_exp_avg_sq": top}
    return -lr * m / c1 / root, new_state


ADAM_ARGS = {"betas": (0.8, 0.95), "eps": 1e-8, "weight_decay": 0.1, "amsgrad": True}
ADAM_MISTAKES = ["no bias correction", "eps inside the root", "eps before the correction",
                 "betas swapped", "maximum forgotten", "steps counted from 0"]  # fmt: skip
TEXTBOOK: list[tuple[str, Any, dict[str, Any], list[str]]] = [
    (
        "SGD",
        sgd,
        {"momentum": 0.75, "dampening": 0.25, "weight_decay": 0.1, "nesterov": False},
        ["v = μv + lr·g", "dampening on the first step", "dampening forgotten", "decoupled",
         "no decay"],
    ),
    (
        "SGD",
        sgd,
        {"momentum": 0.75, "dampening": 0.0, "weight_decay": 0.1, "nesterov": True},
        ["Nesterov with the old buffer", "Nesterov on top of momentum", "decoupled"],
    ),
    (
        "Adagrad",
        adagrad,
        {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-10},
        ["eps inside the root", "decay counts from step 1", "sum starts at 0", "no root",
         "no decay"],
    ),
    (
        "RMSprop",
        rmsprop,
        {"alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
        ["eps inside the root", "rate inside the buffer", "alpha the other way round",
         "not centered", "bias corrected", "no decay"],
    ),
    ("Adam", adam, ADAM_ARGS, [*ADAM_MISTAKES, "decoupled", "no decay"]),
    (
        "AdamW",
        adamw,
        ADAM_ARGS,
        [*ADAM_MISTAKES, "coupled", "decay without the rate", "decay after the step"],
    ),
]  # fmt: skip


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


# ----------------------------------------------------------------------------------------- contract

FULL: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.5, "nesterov": True},
    "Adagrad": {"initial_accumulator_value": 0.5},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adam": {"amsgrad": True},
    "AdamW": {"amsgrad": True},
    "Adadelta": {"maximize": True},
    "Adafactor": {"maximize": True},
    "Adamax": {"maximize": True},
    "ASGD": {"t0": 1.0, "lambd": 0.25},
    "NAdam": {"momentum_decay": 0.5},
    "RAdam": {"betas": (0.5, 0.95)},
    "Rprop": {"step_sizes": (0.01, 0.25)},
}


def decay(name: str, value: Any) -> dict[str, Any]:
    """Return a weight decay for those that take one."""
    return {"weight_decay": value} if name != "Rprop" else {}


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {**args, **decay(name, wd)}) for name, args in FULL.items() for wd in (0.0, 0.1)),
    ("SGD", {}),
    ("SGD", {"momentum": 0.5}),
    ("RMSprop", {}),
    ("Adam", {}),
]


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


# ----------------------------------------------------------------------------- torch_ref.optimizers


def test_torch_build_refuses_an_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"Unknown optimiser 'Sdg'; known are SGD"):
        torch_optimizers.build("Sdg", {}, {})


def test_torch_build_is_a_stock_optimiser_and_takes_lists_for_tuples() -> None:
    w = {"w": torch.nn.Parameter(torch.ones(2))}

    built = torch_optimizers.build("Adam", w, {"betas": [0.5, 0.75], "lr": 0.25})

    assert type(built) is torch.optim.Adam
    assert built.defaults["betas"] == (0.5, 0.75)
    assert built.param_groups[0]["params"][0] is w["w"]


@pytest.mark.parametrize(("name", "args"), VARIANTS)
def test_torch_state_loaded_into_a_new_optimiser_continues_bitwise(name: str, args: dict) -> None:
    params, grads = problem((2, 3), np.float32, 3)
    one = {k: torch.nn.Parameter(torch.tensor(p)) for k, p in params.items()}
    first = torch_optimizers.build(name, one, args)
    _torch_steps(first, one, grads[:3])
    two = {k: torch.nn.Parameter(p.detach().clone()) for k, p in one.items()}
    second = torch_optimizers.build(name, two, args)
    arrays = {
        p: {k: v.numpy() for k, v in state.items()}
        for p, state in torch_optimizers.state_of(first, one).items()
    }
    torch_optimizers.load_state(second, two, arrays)

    _torch_steps(first, one, grads[3:6])
    _torch_steps(second, two, grads[3:6])

    ours = flat(two, torch_optimizers.state_of(second, two))
    for key, value in flat(one, torch_optimizers.state_of(first, one)).items():
        assert value.tobytes() == ours[key].tobytes()


def test_torch_load_state_copies() -> None:
    w = {"w": torch.nn.Parameter(torch.ones(2))}
    optimizer = torch_optimizers.build("SGD", w, {"momentum": 0.5})
    buffer = torch.ones(2)
    torch_optimizers.load_state(optimizer, w, {"w": {"momentum_buffer": buffer}})
    _torch_steps(optimizer, w, [{"w": np.ones(2, np.float32)}])

    assert buffer.tolist() == [1.0, 1.0]


def _torch_steps(optimizer: torch.optim.Optimizer, params: dict, grads: list[dict]) -> None:
    for grad in grads:
        for key, p in params.items():
            p.grad = torch.tensor(grad[key])
        optimizer.step()


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
