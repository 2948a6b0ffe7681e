"""How the tests of optimisers run both sides: fed the same gradients, the state running free.

Twenty steps, a changing learning rate, and gradients from 1e-6 to 1e2: at a constant rate and scale
several wrong formulas look right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from compare.gauge import gauge, gauging
from manual.optimizers import Optimizer
from manual.registry import OPTIMIZERS
from manual.schedules import Cosine
from torch_ref import optimizers as torch_optimizers

STEPS = 20
CLASSES: dict[str, Any] = {  # those that move parameters of all shapes by dense gradients
    name: cls for name, cls in OPTIMIZERS.items() if not cls.needs and not cls.matrices_only
}
SINGLE = (":step", ":eta", ":mu", ":mu_product")  # numbers of the state, float32 in torch
DTYPES = [np.float64, np.float32]


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


def torch_steps(optimizer: torch.optim.Optimizer, params: dict, grads: list[dict]) -> None:
    for grad in grads:
        for key, p in params.items():
            p.grad = torch.tensor(grad[key])
        optimizer.step()
