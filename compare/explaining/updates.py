"""Bind the formulas of optimisers to the numbers of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.explaining.bound import Bound


class Update(NamedTuple):
    """What one parameter's update worked with."""

    optimizer: Any
    role: str  # param, or state:<name>
    name: str  # the parameter's dotted name
    param: np.ndarray
    grads: Mapping[str, np.ndarray]  # of all parameters, for clipping by their joint norm
    state: Mapping[str, Any]
    lr: float
    clip_norm: float | None
    clip_value: float | None


def bind_update(update: Update) -> Bound:
    """Return the bound names of an optimiser's formula, those of `gradient_variant` as well."""
    bound = BINDERS[type(update.optimizer).__name__](update)
    bound.arrays |= {"theta_old": update.param, "grad": update.grads[update.name]}
    bound.scalars |= {"eta": update.lr, "lam": update.optimizer.weight_decay}
    bound.means |= {
        "theta_old": "the parameter before the step",
        "grad": "its gradient",
        "eta": "the learning rate of this step",
        "lam": "weight_decay",
    }
    if update.clip_norm is not None:
        squares = (np.sum(np.square(g, dtype=np.float64)) for g in update.grads.values())
        bound.scalars |= {"c": update.clip_norm, "norm": math.sqrt(sum(squares))}
        bound.means |= {"c": "clip_norm", "norm": "the norm of all gradients together"}
    if update.clip_value is not None:
        bound.scalars["cap"] = update.clip_value
        bound.means["cap"] = "clip_value"
    if update.role == "state:step":
        bound.arrays, bound.scalars = {}, {"t_old": update.state.get("step", 0)}
    return bound


def gradient_variant(update: Update) -> str:
    """Return which definition of g holds: clipped, decayed, both."""
    coupled = update.optimizer.weight_decay and type(update.optimizer).__name__ != "AdamW"
    parts = ["decayed" if coupled else "plain"]
    parts += ["clip_norm"] if update.clip_norm is not None else []
    parts += ["clip_value"] if update.clip_value is not None else []
    return ", ".join(parts)


def _sgd(update: Update) -> Bound:
    opt, buffer = update.optimizer, update.state.get("momentum_buffer")
    if opt.momentum == 0:
        return Bound()
    scalars = {"mu": opt.momentum, "d": opt.dampening}
    means = {"mu": "momentum", "d": "dampening", "b_old": "momentum_buffer before the step"}
    arrays = {} if buffer is None else {"b_old": buffer}
    kind = "first" if buffer is None else "dampening" if opt.dampening else "momentum"
    if update.role == "param":
        nesterov = {"first": "first, nesterov", "momentum": "nesterov"}
        return Bound(nesterov[kind] if opt.nesterov else kind, arrays, scalars, means)
    return Bound("" if kind == "momentum" else kind, arrays, scalars, means)


def _adagrad(update: Update) -> Bound:
    opt = update.optimizer
    before = update.state.get("sum", opt.initial_accumulator_value)
    arrays = {"s_old": np.broadcast_to(before, update.param.shape)}
    scalars = {"t": update.state.get("step", 0) + 1, "kappa": opt.lr_decay, "eps": opt.eps}
    means = {"s_old": "sum before the step", "t": "the number of this step", "kappa": "lr_decay",
             "eps": "eps"}  # fmt: skip
    return Bound("", arrays, scalars, means)


def _rmsprop(update: Update) -> Bound:
    opt = update.optimizer
    names = {"v_old": "square_avg", "m_old": "grad_avg", "b_old": "momentum_buffer"}
    arrays, means = _before(update, names)
    scalars = {"alpha": opt.alpha, "eps": opt.eps, "mu": opt.momentum}
    means |= {"alpha": "alpha", "eps": "eps", "mu": "momentum"}
    parts = ["centered"] if opt.centered else []
    if update.role == "param":
        parts += ["momentum"] if opt.momentum else []
    elif update.role != "state:momentum_buffer":
        parts = []
    return Bound(", ".join(parts), arrays, scalars, means)


def _adam(update: Update) -> Bound:
    opt = update.optimizer
    names = {"m_old": "exp_avg", "v_old": "exp_avg_sq", "vmax_old": "max_exp_avg_sq"}
    arrays, means = _before(update, names)
    t = update.state.get("step", 0) + 1
    scalars = {"beta1": opt.betas[0], "beta2": opt.betas[1], "eps": opt.eps, "t": t}
    means |= {"beta1": "betas[0]", "beta2": "betas[1]", "eps": "eps",
              "t": "the number of this step"}  # fmt: skip
    return Bound(
        "amsgrad" if opt.amsgrad and update.role == "param" else "", arrays, scalars, means
    )


def _before(update: Update, names: Mapping[str, str]) -> tuple[dict, dict]:
    """Return the state before the step, zero before the first, and what it is called."""
    shape = update.param.shape
    arrays = {n: np.broadcast_to(update.state.get(key, 0.0), shape) for n, key in names.items()}
    return arrays, {name: f"{key} before the step" for name, key in names.items()}


BINDERS: dict[str, Callable[[Update], Bound]] = {
    "SGD": _sgd,
    "Adagrad": _adagrad,
    "RMSprop": _rmsprop,
    "Adam": _adam,
    "AdamW": _adam,
}
