"""The textbook's formulas of some optimisers, and the mistakes that each takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.optimizers import Optimizer


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
