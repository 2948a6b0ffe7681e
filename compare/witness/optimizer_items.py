"""The optimisers that are certified: their own steps beside their definitions, in balls."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np

from compare.pair.example import shown
from compare.witness import definitions
from compare.witness.cases import DefinitionCase, Item
from manual.graph import Arrays
from manual.optimizers import LBFGS, SparseAdam, SparseGradient
from manual.optimizers.base import Optimizer, State
from manual.registry import OPTIMIZERS

STEPS = 6  # from the sixth on, RAdam divides by its root mean square


def optimizers() -> Iterator[Item]:
    """Yield one item per optimiser and set of options."""
    for name, cls in OPTIMIZERS.items():
        for option in cls.examples:
            case = partial(optimizer_case, cls(**option))
            yield Item(shown(name, option), "optimizer", name, case)


def optimizer_case(optimizer: Optimizer, rng: np.random.Generator, size: int = 3) -> DefinitionCase:
    """Take a few steps of both, at changing rates and gradient scales, with state running free."""
    flat = optimizer.elementwise or isinstance(optimizer, LBFGS)
    shape = (size,) if flat else (size, 2)
    param = rng.standard_normal(shape)
    few = {"LBFGS": 4, "Muon": 2}  # their steps multiply many numbers, and balls grow
    steps = few.get(type(optimizer).__name__, STEPS)
    scales = 10.0 ** rng.uniform(-3, 1, steps) if optimizer.needs == "" else np.ones(steps)
    drawn = [rng.standard_normal(shape) * scale for scale in scales]
    rates = rng.uniform(0.5, 1.5, steps) / 8

    def grads() -> list:
        lifted = list(map(_balls, drawn))
        return lifted if not isinstance(optimizer, SparseAdam) else _touching(lifted)

    def formula() -> Arrays:
        return run(optimizer, _balls(param), grads(), list(_balls(rates)))

    def definition() -> Arrays:
        write = definition_of(optimizer)
        return write(_balls(param), grads(), list(_balls(rates)), **settings(optimizer))

    note = f"equal to its definition for {steps} steps; a step has no derivative"
    return DefinitionCase(formula, definition, note)


def definition_of(optimizer: Optimizer) -> definitions.Definition:
    return getattr(definitions, type(optimizer).__name__.lower())


def run(optimizer: Optimizer, param: Any, grads: list, rates: list) -> Arrays:
    """Return the hand-written parameter and state after all steps."""
    exact = copy.copy(optimizer)
    for name, value in settings(optimizer).items():
        object.__setattr__(exact, name, value)  # frozen, and its checks want floats
    state: State = {}
    for grad, rate in zip(grads, rates, strict=True):
        param, state = exact.update(param, grad, state, rate)
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {"param": param} | arrays


def _touching(grads: list) -> list:
    """Return gradients of two rows each, another one left out every time, as sparse ones."""
    rows = [np.delete(np.arange(len(g)), k % len(g)) for k, g in enumerate(grads)]
    return [SparseGradient(at[None], g[at], g.shape) for at, g in zip(rows, grads, strict=True)]


def settings(optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings as exact balls, without lr: each step brings its own."""
    found = {f.name: getattr(optimizer, f.name) for f in fields(optimizer)}  # type: ignore[arg-type]
    return {name: _exact(value) for name, value in found.items() if name != "lr"}


def _exact(value: Any) -> Any:
    from compare.witness.balls import as_ball

    if isinstance(value, tuple):
        return tuple(_exact(v) for v in value)
    return as_ball(value) if isinstance(value, float) else value


def _balls(array: np.ndarray) -> Any:
    from compare.witness.ball_array import balls

    return balls(array)
