"""Random losses, optimisers, penalties and initial weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from compare.description.wanted import wants_fractions
from manual import registry
from manual.examples import Example
from manual.optimizers import Optimizer

Table = dict[str, Any]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return 10 to a uniform power, as float32 holds it."""
    return float(np.float32(10 ** rng.uniform(low, high)))


def varied(rng: np.random.Generator, cls: Any, arguments: Mapping[str, Any]) -> Table:
    """Return arguments with every number a little changed, if the class takes them like that."""
    changed = {
        key: float(np.float32(value * rng.uniform(0.7, 1.3))) if isinstance(value, float) else value
        for key, value in arguments.items()
    }
    try:
        cls(**changed)
    except ValueError:
        changed = dict(arguments)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()}


def loss(rng: np.random.Generator) -> tuple[Table, str]:
    """Return a loss, and how the network must end: `sigmoid` or `any`.

    Lists of weights stand for themselves until the number of outputs is known.
    """
    name = str(rng.choice(list(drawable())))
    cls, usable = registry.LOSSES[name], drawable()[name]
    example = usable[int(rng.integers(len(usable)))]
    table = varied(rng, cls, example.arguments)
    table = {k: None if isinstance(v, list) else v for k, v in table.items()}
    return {"type": name, **table}, "sigmoid" if wants_fractions(name, of=0) else "any"


@cache
def drawable() -> dict[str, list[Example]]:
    """Return the losses of an output and targets that a data set gives, with their examples."""
    found = {
        name: [e for e in cls.examples if _is_plain(e) and e.arguments.get("reduction") != "none"]
        for name, cls in registry.LOSSES.items()
        if not cls(**cls.examples[0].arguments).params
    }
    return {name: examples for name, examples in found.items() if examples}


def _is_plain(example: Example) -> bool:
    """Whether a loss is tried on rows, with targets that a data set gives, none ignored."""
    x, *targets = example.draw(np.random.default_rng(0))
    if len(targets) != 1 or not _is_output(example):
        return False
    target = targets[0]
    assert x is not None
    assert target is not None
    labels = target.dtype.kind == "i" and target.shape == x.shape[:1]
    numbers = target.dtype.kind == "f" and not _is_simplex(example)
    return x.ndim == 2 and (labels or numbers) and "ignore_index" not in example.arguments


def _is_output(example: Example) -> bool:
    """Whether any network gives such an input, or one that ends in a sigmoid."""
    spec = example.inputs[0]
    return getattr(spec, "kind", "normal") == "normal" or 0 <= spec.low < spec.high <= 1


def _is_simplex(example: Example) -> bool:
    return getattr(example.inputs[1], "kind", "") == "simplex"


def optimizer(rng: np.random.Generator) -> Table:
    """Return an optimiser with its options, sometimes a schedule and clipping."""
    decay = {"weight_decay": log_uniform(rng, -4, -1)} if rng.random() < 0.5 else {}
    name = str(rng.choice([n for n, cls in registry.OPTIMIZERS.items() if any_network(cls)]))
    cls = registry.OPTIMIZERS[name]
    settings = varied(rng, cls, cls.examples[int(rng.integers(len(cls.examples)))])
    table = {"type": name, **settings, "lr": log_uniform(rng, -5, -0.5)}
    if rng.random() < 0.3:
        schedules: list[Table] = [
            {"type": "Step", "step_size": 1, "gamma": 0.5},
            {"type": "Cosine", "total_steps": 4},
        ]
        table["schedule"] = schedules[int(rng.integers(2))]
    for key in ("clip_norm", "clip_value"):
        if rng.random() < 0.15:
            table[key] = log_uniform(rng, -3, 1)
    return {**table, **decay} if "weight_decay" in vars(cls) else table


def any_network(cls: type[Optimizer]) -> bool:
    """Return whether a rule moves parameters of all shapes by one dense gradient a step."""
    return not cls.needs and not cls.matrices_only


def penalties(rng: np.random.Generator) -> list[Table]:
    """Return up to two penalties."""
    return [
        {
            "type": kind,
            "coefficient": log_uniform(rng, -4, -1),
            "parameters": ["*weight" if rng.random() < 0.6 else "*"],
        }
        for kind in registry.PENALTIES
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
