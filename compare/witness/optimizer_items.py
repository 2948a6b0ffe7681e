"""The optimisers that are certified: their own steps beside their definitions, in balls."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from compare.witness import definitions
from compare.witness.cases import DefinitionCase, Item, shown
from manual.graph import Arrays
from manual.optimizers.base import Optimizer, State
from manual.registry import OPTIMIZERS

STEPS = 4
CLASSES: dict[str, Any] = {**OPTIMIZERS}
NOTE = f"equal to its definition for {STEPS} steps; a step has no derivative"
DEFINITIONS: dict[str, definitions.Definition] = {
    "SGD": definitions.sgd,
    "Adagrad": definitions.adagrad,
    "RMSprop": definitions.rmsprop,
    "Adam": definitions.adam,
    "AdamW": definitions.adamw,
}


ADAM: list[dict[str, Any]] = [
    {}, {"betas": (0.5, 0.75), "eps": 0.125, "weight_decay": 0.25},
    {"amsgrad": True, "weight_decay": 0.125},
]  # fmt: skip
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {}, {"weight_decay": 0.25}, {"momentum": 0.75},
        {"momentum": 0.75, "dampening": 0.25, "weight_decay": 0.25},
        {"momentum": 0.75, "nesterov": True, "weight_decay": 0.25},
    ],
    "Adagrad": [{}, {"lr_decay": 0.25, "weight_decay": 0.25, "initial_accumulator_value": 0.5}],
    "RMSprop": [{}, {"centered": True}, {"alpha": 0.75, "momentum": 0.5, "weight_decay": 0.25}],
    "Adam": ADAM,
    "AdamW": ADAM,
}  # fmt: skip


def optimizers() -> Iterator[Item]:
    """Yield one item per optimiser and set of options."""
    for name, options in VARIANTS.items():
        for option in options:
            yield _item(name, option)


def _item(name: str, option: dict[str, Any]) -> Item:
    optimizer = CLASSES[name](**option)
    case = lambda rng: optimizer_case(optimizer, rng)  # noqa: E731
    return Item(shown(name, option), "optimizer", name, case)


def optimizer_case(optimizer: Optimizer, rng: np.random.Generator, size: int = 3) -> DefinitionCase:
    """Take a few steps of both, at changing rates and gradient scales, with state running free."""
    param = rng.standard_normal(size)
    grads = rng.standard_normal((STEPS, size)) * 10.0 ** rng.uniform(-3, 1, (STEPS, 1))
    rates = rng.uniform(0.5, 1.5, STEPS) / 8

    def formula() -> Arrays:
        return run(optimizer, _balls(param), list(_balls(grads)), list(_balls(rates)))

    def definition() -> Arrays:
        write = DEFINITIONS[type(optimizer).__name__]
        return write(_balls(param), list(_balls(grads)), list(_balls(rates)), **settings(optimizer))

    return DefinitionCase(formula, definition, NOTE)


def run(optimizer: Optimizer, param: Any, grads: list, rates: list) -> Arrays:
    """Return the hand-written parameter and state after all steps."""
    exact = copy.copy(optimizer)
    for name, value in settings(optimizer).items():
        object.__setattr__(exact, name, value)  # frozen, and its checks want floats
    state: State = {}
    for grad, rate in zip(grads, rates, strict=True):
        param, state = exact.update(param, grad, state, rate)
    return {"param": param} | {name: value for name, value in state.items() if name != "step"}


def settings(optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings as exact balls, without lr: each step brings its own."""
    found = {f.name: getattr(optimizer, f.name) for f in fields(optimizer)}  # type: ignore[arg-type]
    return {name: _exact(value) for name, value in found.items() if name != "lr"}


def _exact(value: Any) -> Any:
    from compare.witness.balls import as_ball

    if isinstance(value, tuple):
        return tuple(_exact(v) for v in value)
    return value if isinstance(value, bool) else as_ball(value)


def _balls(array: np.ndarray) -> Any:
    from compare.witness.ball_array import balls

    return balls(array)
