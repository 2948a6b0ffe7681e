"""Random losses, optimisers, penalties and initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Table = dict[str, Any]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return 10 to a uniform power, as float32 holds it."""
    return float(np.float32(10 ** rng.uniform(low, high)))


def loss(rng: np.random.Generator) -> tuple[Table, str]:
    """Return a loss, and how the network must end: a layer, `linear` or `any`.

    `weight` and `pos_weight` stand for themselves until the number of outputs is known.
    """
    reduction = {"reduction": str(rng.choice(["mean", "sum"]))}
    some = {"weight": None} if rng.random() < 0.3 else {}
    choices: list[Callable[[], tuple[Table, str]]] = [
        lambda: ({"type": "MSELoss", **reduction}, "any"),
        lambda: ({"type": "L1Loss", **reduction}, "any"),
        lambda: ({"type": "HuberLoss", **reduction, "delta": log_uniform(rng, -1, 1)}, "any"),
        lambda: ({"type": "SquaredErrorLoss", **reduction, "factor": 0.5}, "any"),
        lambda: ({"type": "BCELoss", **reduction, **some}, "sigmoid"),
        lambda: ({"type": "BCEWithLogitsLoss", **reduction, **some, **_positive(rng)}, "linear"),
        lambda: ({"type": "CrossEntropyLoss", **reduction, **some, **_smoothing(rng)}, "any"),
        lambda: ({"type": "CrossEntropyLoss", **reduction, **_smoothing(rng)}, "linear"),
        lambda: ({"type": "NLLLoss", **reduction, **some}, "log_softmax"),
        lambda: ({"type": "MultiMarginLoss", **reduction, **some, **_margin(rng)}, "any"),
        lambda: ({"type": "MulticlassHingeLoss", **reduction, "margin": 1.0}, "any"),
    ]
    return choices[int(rng.integers(len(choices)))]()


def _positive(rng: np.random.Generator) -> Table:
    return {"pos_weight": None} if rng.random() < 0.3 else {}


def _smoothing(rng: np.random.Generator) -> Table:
    return {"label_smoothing": float(rng.choice([0.0, 0.1, 0.3]))}


def _margin(rng: np.random.Generator) -> Table:
    return {"p": int(rng.integers(1, 3)), "margin": float(rng.choice([0.5, 1.0, 2.0]))}


def optimizer(rng: np.random.Generator) -> Table:
    """Return an optimiser with its options, sometimes a schedule and clipping."""
    decay = {"weight_decay": log_uniform(rng, -4, -1)} if rng.random() < 0.5 else {}
    choices: list[Callable[[], Table]] = [
        lambda: {"type": "SGD", **_momentum(rng)},
        lambda: {"type": "Adagrad", "lr_decay": float(rng.choice([0, 0.1])),
                 "initial_accumulator_value": float(rng.choice([0, 0.1]))},
        lambda: {"type": "Adam", **_adam(rng)},
        lambda: {"type": "AdamW", **_adam(rng)},
        lambda: {"type": "RMSprop", "momentum": float(rng.choice([0, 0.9])),
                 "alpha": float(rng.uniform(0.5, 0.99)), "centered": bool(rng.random() < 0.5)},
    ]  # fmt: skip
    table = {**choices[int(rng.integers(len(choices)))](), "lr": log_uniform(rng, -5, -0.5)}
    if rng.random() < 0.3:
        schedules: list[Table] = [
            {"type": "Step", "step_size": 1, "gamma": 0.5},
            {"type": "Cosine", "total_steps": 4},
        ]
        table["schedule"] = schedules[int(rng.integers(2))]
    for key in ("clip_norm", "clip_value"):
        if rng.random() < 0.15:
            table[key] = log_uniform(rng, -3, 1)
    return {**table, **decay}


def _momentum(rng: np.random.Generator) -> Table:
    kind = int(rng.integers(3))
    if kind == 0:
        return {}
    momentum = {"momentum": float(rng.uniform(0.1, 0.99))}
    if kind == 1:
        return {**momentum, "nesterov": True}
    return {**momentum, "dampening": float(rng.choice([0.0, 0.5]))}


def _adam(rng: np.random.Generator) -> Table:
    betas = [float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.9, 0.9999))]
    return {"betas": betas, "amsgrad": bool(rng.random() < 0.4)}


def penalties(rng: np.random.Generator) -> list[Table]:
    """Return up to two penalties."""
    return [
        {
            "type": kind,
            "coefficient": log_uniform(rng, -4, -1),
            "parameters": ["*weight" if rng.random() < 0.6 else "*"],
        }
        for kind in ("L1Penalty", "L2Penalty")
        if rng.random() < 0.2
    ]


def init(rng: np.random.Generator) -> Table:
    """Return an initialisation scheme; the constant one, in which every unit ties, is rare."""
    choices: list[Callable[[], Table]] = [
        lambda: {"scheme": "default"},
        lambda: {"scheme": "xavier_uniform", "gain": float(rng.uniform(0.5, 2))},
        lambda: {"scheme": "xavier_normal", "gain": float(rng.uniform(0.5, 2))},
        lambda: {"scheme": "kaiming_uniform", "mode": str(rng.choice(["fan_in", "fan_out"]))},
        lambda: {"scheme": "kaiming_normal", "nonlinearity": "relu"},
        lambda: {"scheme": "uniform", "low": -log_uniform(rng, -3, 0), "high": 1.0},
        lambda: {"scheme": "normal", "std": log_uniform(rng, -3, 0)},
        lambda: {"scheme": "constant", "value": log_uniform(rng, -3, 0)},
    ]
    odds = [0.2, 0.14, 0.14, 0.14, 0.14, 0.06, 0.14, 0.04]
    table = choices[int(rng.choice(len(choices), p=odds))]()
    bias = rng.choice(["default", "zeros", "normal"])
    return {**table, "bias": str(bias)} if rng.random() < 0.6 else table
