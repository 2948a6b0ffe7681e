"""Optimisers beside torch's, on the same gradients for twenty steps.

The learning rate changes from step to step and gradients run from 1e-6 to 1e2: at one rate and
scale v = μ v + lr g looks like v = μ v + g. State runs free; gradients are overwritten after each
step, so that a state which is the gradient's own memory shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift, exact
from evidence.mutation.battery.layers import Arguments, build

STEPS = 20
SHAPES = {"0.weight": (3, 4), "0.bias": (3,), "scale": (), "quiet": (2,)}  # the last: gradient 0


@dataclass(frozen=True)
class OptimizerCheck(Check):
    """One optimiser with its arguments; `own_rate` leaves the learning rate to it."""

    type: str
    arguments: Arguments = ()
    own_rate: bool = False

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"{self.type}({shown}) over {STEPS} steps{' at its own rate' * self.own_rate}"

    def params(self, seed: int) -> dict[str, np.ndarray]:
        return {name: self.draw(seed, shape, name) for name, shape in SHAPES.items()}

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        """Yield gradients and learning rate of every step."""
        rng = self.rng(seed, "steps")
        for _ in range(STEPS):
            scale = 10.0 ** rng.uniform(-6, 2)
            grads = {name: exact(rng.normal(size=s) * scale) for name, s in SHAPES.items()}
            lr = None if self.own_rate else float(rng.choice([0.5, 0.125, 0.03125]))
            yield {**grads, "quiet": np.zeros(SHAPES["quiet"])}, lr

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        optimizer = build(self.type, self.arguments)
        params: Any = {name: lift(p) for name, p in self.params(seed).items()}
        states: Any = {}
        values: Values = {}
        for number, (arrays, lr) in enumerate(self.steps(seed), 1):
            grads = {name: lift(g) for name, g in arrays.items()}
            params, states = optimizer.step(params, grads, states, lr)
            values |= _keyed(number, params, states)
            for grad in grads.values():
                _scribble(grad)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.nn import Parameter

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref import optimizers
        from torch_ref.side import array_of

        params = {name: Parameter(tensor(p, dtype)) for name, p in self.params(seed).items()}
        optimizer = optimizers.build(self.type, params, dict(self.arguments))
        values: Values = {}
        for number, (grads, lr) in enumerate(self.steps(seed), 1):
            for name, p in params.items():
                p.grad = tensor(grads[name], dtype)
            if lr is not None:
                optimizers.set_lr(optimizer, lr)
            optimizer.step()
            arrays = {name: array_of(p).copy() for name, p in params.items()}
            state = optimizers.state_of(optimizer, params)
            copies = {n: {k: array_of(v).copy() for k, v in s.items()} for n, s in state.items()}
            values |= _keyed(number, arrays, copies)
        return values


@dataclass(frozen=True)
class SteadyCheck(OptimizerCheck):
    """Gradients that never change, until variances round to nothing, or below.

    In float32 torch's own variances may round below 0 (and its step to nan), so torch runs in
    float64 here and the hand-written side alone in float32.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    @property
    def name(self) -> str:
        return f"{super().name}, gradients constant"

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        grads = {name: self.draw(seed, shape, "steady", name) for name, shape in SHAPES.items()}
        for _ in range(28):
            yield {name: g.copy() for name, g in grads.items()}, 0.25

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        values = super().torch(np.dtype(np.float64), seed)
        return {key: np.asarray(value, dtype=dtype) for key, value in values.items()}


@dataclass(frozen=True)
class BlockCheck(OptimizerCheck):
    """Plain arrays in blocks: of twelve elements, the last block has one; or the usual ones."""

    usual: bool = False

    @property
    def name(self) -> str:
        return f"{super().name}, in {'the usual ' * self.usual}blocks"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        base: Any = import_module("manual.optimizers.base")
        before = base.LARGE, base.BLOCK
        base.LARGE = 16  # bytes
        base.BLOCK = base.BLOCK if self.usual else 11  # elements
        try:
            return super().values(lift, dtype, seed)
        finally:
            base.LARGE, base.BLOCK = before


def _keyed(number: int, params: Any, states: Any) -> Values:
    """Put a step's results under keys; the step count is a float32 in torch."""
    place = f"step {number}"
    values = {Key(place, f"param:{name}"): p for name, p in params.items()}
    for name, state in states.items():
        for key, value in state.items():
            value = np.float32(value) if key == "step" else value
            values[Key(place, f"state:{name}:{key}")] = value
    return values


def _scribble(array: Any) -> None:
    """Overwrite a plain array with what no formula survives."""
    if isinstance(array, np.ndarray):
        array.setflags(write=True)
        array[...] = np.nan


STEADY: Arguments = (("lr", 0.25), ("alpha", 0.5), ("eps", 1.0))
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "SGD": (
        {},
        {"lr": 0.25, "weight_decay": 0.125},
        {"lr": 0.25, "weight_decay": 1.0},
        {"lr": 0.25, "momentum": 0.75, "weight_decay": 0.0625},
        {"lr": 0.25, "momentum": 0.9, "dampening": 0.375},
        {"lr": 0.25, "momentum": 0.5, "dampening": 1.0},
        {"lr": 0.25, "momentum": 0.5, "dampening": -1.0},
        {"lr": 0.25, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0625},
    ),
    "Adagrad": (
        {},
        {"lr": 0.25, "lr_decay": 0.125, "weight_decay": 0.0625, "initial_accumulator_value": 0.5},
        {"lr": 0.25, "eps": 1e-3},
    ),
    "RMSprop": (
        {},
        {"lr": 0.25, "alpha": 0.75, "weight_decay": 0.0625},
        {"lr": 0.25, "momentum": 0.5, "eps": 1e-3},
        {"lr": 0.25, "momentum": 0.5, "centered": True, "alpha": 0.875},
    ),
    "Adam": (
        {},
        {"lr": 0.25, "betas": (0.75, 0.875), "weight_decay": 0.0625},
        {"lr": 0.25, "amsgrad": True, "eps": 1e-3},
    ),
    "AdamW": (
        {},
        {"lr": 0.25, "betas": (0.75, 0.875), "weight_decay": 0.0625},
        {"lr": 0.25, "amsgrad": True, "eps": 1e-3, "weight_decay": 0.0},
    ),
}


@cache
def optimizer_checks() -> list[Check]:
    """Return every optimiser with its options."""
    checks: list[Check] = []
    for name, settings in OPTIONS.items():
        for given in settings:
            checks.append(OptimizerCheck(name, tuple(given.items())))
            checks.append(BlockCheck(name, tuple(given.items())))
        checks.append(BlockCheck(name, usual=True))
        checks.append(OptimizerCheck(name, own_rate=True))
        checks.append(OptimizerCheck(name, (("lr", 0.5),), own_rate=True))
    checks += [SteadyCheck("RMSprop", (*STEADY, ("centered", True)))]
    return checks
