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
SHAPES: dict[str, tuple[int, ...]] = {"0.weight": (3, 4), "0.bias": (3,), "scale": ()}
SHAPES |= {"quiet": (2,)}  # gradient 0
MATRICES: dict[str, tuple[int, ...]] = {"0.weight": (3, 4), "scale": (4, 2), "square": (3, 3)}
OTHER_SHAPES = {"Muon": MATRICES, "Adafactor": SHAPES | {"block": (2, 3, 2), "small": (3,)}}
SMALL = 2.0**-12  # times `small`
RESTS = 5  # the step at which `scale` has no gradient


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

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes: only matrices for Muon, more than matrices for Adafactor."""
        return OTHER_SHAPES.get(self.type, SHAPES)

    def params(self, seed: int) -> dict[str, np.ndarray]:
        drawn = {name: self.draw(seed, shape, name) for name, shape in self.shapes.items()}
        return {name: p * SMALL if name == "small" else p for name, p in drawn.items()}

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        """Yield gradients and learning rate of every step."""
        rng = self.rng(seed, "steps")
        for number in range(STEPS):
            scale = 10.0 ** rng.uniform(-6, 2)
            grads = {name: exact(rng.normal(size=s) * scale) for name, s in self.shapes.items()}
            lr = None if self.own_rate else float(rng.choice([0.5, 0.125, 0.03125]))
            if "quiet" in grads:
                grads["quiet"] = np.zeros(SHAPES["quiet"])
            if number == RESTS:
                grads.pop("scale", None)
            yield grads, lr

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        optimizer = build(self.type, self.arguments)
        params: Any = {name: lift(p) for name, p in self.params(seed).items()}
        states: Any = {}
        values: Values = {}
        for number, (arrays, lr) in enumerate(self.steps(seed), 1):
            grads = {name: lift(g) for name, g in arrays.items()}
            params, states = optimizer.step(params, grads, states, lr)
            values |= keyed(number, params, states)
            for grad in grads.values():
                scribble(grad)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import tensor

        return self._torch_steps(dtype, seed, tensor)

    def _torch_steps(self, dtype: np.dtype, seed: int, lift: Any) -> Values:
        from torch.nn import Parameter

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref import optimizers
        from torch_ref.side import array_of

        params = {name: Parameter(tensor(p, dtype)) for name, p in self.params(seed).items()}
        optimizer = optimizers.build(self.type, params, dict(self.arguments))
        values: Values = {}
        for number, (grads, lr) in enumerate(self.steps(seed), 1):
            for name, p in params.items():
                p.grad = lift(grads[name], dtype) if name in grads else None
            if lr is not None:
                optimizers.set_lr(optimizer, lr)
            optimizer.step()
            arrays = {name: array_of(p).copy() for name, p in params.items()}
            state = optimizers.state_of(optimizer, params)
            copies = {n: {k: array_of(v).copy() for k, v in s.items()} for n, s in state.items()}
            values |= keyed(number, arrays, copies)
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
        base.LARGE = 2
        base.BLOCK = base.BLOCK if self.usual else 11  # elements
        try:
            return super().values(lift, dtype, seed)
        finally:
            base.LARGE, base.BLOCK = before


@dataclass(frozen=True)
class SparseCheck(OptimizerCheck):
    """Gradients of some rows, one of them twice; at one step of none."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"table": (5, 3), "list": (6,)}

    def steps(self, seed: int) -> Iterator[tuple[dict[str, Any], float | None]]:
        rng = self.rng(seed, "steps")
        for number in range(8):
            grads = {}
            for name, (rows, *rest) in self.shapes.items():
                places = np.flatnonzero(rng.random(rows) < 0.6) if number != 3 else np.arange(0)
                places = np.array([*places, *places[:1]], dtype=np.int64)
                scale = 10.0 ** rng.uniform(-6, 2)
                grads[name] = places, exact(rng.normal(size=(len(places), *rest)) * scale)
            yield grads, None if self.own_rate else float(rng.choice([0.5, 0.125, 0.03125]))

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        sparse = import_module("manual.optimizers.sparse_adam").SparseGradient

        def lifted(given: Any) -> Any:
            if not isinstance(given, tuple):
                return lift(given)
            shape = next(s for s in self.shapes.values() if len(s) == given[1].ndim)
            return sparse(given[0][None], lift(given[1]), shape)

        return super().values(lifted, dtype, seed)

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor

        def sparse(given: Any, dtype: np.dtype) -> Any:
            shape = next(s for s in self.shapes.values() if len(s) == given[1].ndim)
            values = tensor(given[1], dtype)
            places = torch.tensor(given[0])[None]
            return torch.sparse_coo_tensor(places, values, shape, check_invariants=True)

        return self._torch_steps(dtype, seed, sparse)


@dataclass(frozen=True)
class DoubtCheck(OptimizerCheck):
    """A gradient whose sign is rounding, and another on torch's side; then one that is sure.

    What the sign decides may come out either way, and the gauge says so.
    """

    doubtful: ClassVar[int] = 1  # the step whose gradient is in doubt

    @property
    def name(self) -> str:
        return f"{super().name}, in doubt of a sign"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"vector": (4,)}

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        for grad in (DOUBT[0] - DOUBT[1], np.array([1e3, -1e3] * 2)):
            yield {"vector": grad}, None

    def rounded(self, lift: Lift, dtype: np.dtype) -> Any:
        """Return ((1 + x) - 1) - w for x - w: rounded, it is above 0, or 0."""
        eps = 2.0**10 * float(np.finfo(dtype).eps)
        one, x, w = (lift(n) for n in (np.ones(4), *(DOUBT * eps)))
        return (((one + x) - one) - w) / eps

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        optimizer = build(self.type, self.arguments)
        params: Any = {"vector": lift(self.params(seed)["vector"])}
        states: Any = {}
        values: Values = {}
        for number, (grads, _) in enumerate(self.steps(seed), 1):
            doubtful = number == self.doubtful
            grad = self.rounded(lift, dtype) if doubtful else lift(grads["vector"])
            params, states = optimizer.step(params, {"vector": grad}, states)
            values |= keyed(number, params, states)
        return values


@dataclass(frozen=True)
class TinyCheck(DoubtCheck):
    """A gradient that is sure; then the least of all numbers, which is 0 on torch's side.

    A gauge of float64 alone has no room for the squares of its least numbers.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    doubtful: ClassVar[int] = 2

    @property
    def name(self) -> str:
        return f"{super().name} that underflows"

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        for grad in (np.array([1.0, -1.0] * 2) / 2**10, np.zeros(4)):
            yield {"vector": grad}, None

    def rounded(self, lift: Lift, dtype: np.dtype) -> Any:
        """Return a product that is less than the least number, and is rounded to it."""
        digits = int(np.log2(float(np.finfo(dtype).smallest_subnormal)))
        a, b = 0.75 * 2.0 ** (digits // 2), 2.0 ** (digits - digits // 2)
        return lift(np.array([a, a, -a, -a])) * lift(np.array(b))


@dataclass(frozen=True)
class TinyProductCheck(DoubtCheck):
    """A gradient near the least of all numbers; then one in doubt: the product says nothing."""

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    doubtful: ClassVar[int] = 2
    scale: ClassVar[float] = 2.0**-20

    @property
    def name(self) -> str:
        return f"{super().name} of a tiny product"

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        for grad in (np.array([1.0, -1.0] * 2) * 2.0**-108, np.full(4, -0.25 * self.scale)):
            yield {"vector": grad}, None

    def rounded(self, lift: Lift, dtype: np.dtype) -> Any:
        """Return ((1 + x) - 1) - x, which is 0 but for rounding: above 0."""
        eps = float(np.finfo(dtype).eps)
        one, x = lift(np.ones(4)), lift(np.full(4, 0.75 * eps))
        return (((one + x) - one) - x) / eps * self.scale


def keyed(number: int, params: Any, states: Any) -> Values:
    """Put a step's results under keys; numbers of the state are float32 in torch."""
    place = f"step {number}"
    values = {Key(place, f"param:{name}"): p for name, p in params.items()}
    for name, state in states.items():
        for key, value in state.items():
            value = np.float32(value) if key in SINGLE else value
            values[Key(place, f"state:{name}:{key}")] = value
    return values


def scribble(array: Any) -> None:
    """Overwrite a plain array with what no formula survives."""
    if isinstance(array, np.ndarray):
        array.setflags(write=True)
        array[...] = np.nan


DOUBT = np.array([[0.75] * 4, [0.875, 0.875, 1, 1]]) / 2**10
SINGLE = ("step", "eta", "mu", "mu_product")
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
        {"lr": 0.25, "weight_decay": 0.0625, "decoupled_weight_decay": True, "maximize": True},
    ),
    "AdamW": (
        {},
        {"lr": 0.25, "betas": (0.75, 0.875), "weight_decay": 0.0625},
        {"lr": 0.25, "amsgrad": True, "eps": 1e-3, "weight_decay": 0.0},
        {"lr": 0.25, "maximize": True},
    ),
    "Adadelta": (
        {},
        {"lr": 0.25, "rho": 0.75, "eps": 1e-3, "weight_decay": 0.0625},
        {"rho": 1.0, "maximize": True},
    ),
    "Adafactor": (
        {},
        {"lr": 0.25, "beta2_decay": -0.5, "weight_decay": 0.0625, "d": 1.25, "maximize": True},
        {"lr": 0.25, "eps": (0.25, 0.5), "beta2_decay": 0.0},
        {"lr": 0.25, "eps": (1e-5, 0.0)},
    ),
    "Adamax": (
        {},
        {"lr": 0.25, "betas": (0.75, 0.875), "weight_decay": 0.0625, "maximize": True},
        {"lr": 0.25, "betas": (0.75, 0.5), "eps": 1.0},
    ),
    "ASGD": (
        {},
        {"lr": 0.25, "lambd": 0.25, "alpha": 0.5, "t0": 3.0, "weight_decay": 0.0625},
        {"lr": 0.25, "t0": 0.0, "maximize": True},
    ),
    "NAdam": (
        {},
        {"lr": 0.25, "betas": (0.75, 0.875), "weight_decay": 0.0625, "maximize": True},
        {"lr": 0.25, "momentum_decay": 0.5, "eps": 1e-3},
        {"lr": 0.25, "weight_decay": 0.0625, "decoupled_weight_decay": True},
    ),
    "RAdam": (
        {},
        {"lr": 0.25, "betas": (0.75, 0.5), "weight_decay": 0.0625, "maximize": True},
        {"lr": 0.25, "betas": (0.75, 0.9375), "eps": 1e-3},
        {"lr": 0.25, "weight_decay": 0.0625, "decoupled_weight_decay": True},
    ),
    "Rprop": (
        {},
        {"lr": 0.25, "etas": (0.5, 1.25), "step_sizes": (0.1, 0.3), "maximize": True},
    ),
    "Muon": (
        {},
        {"lr": 0.25, "momentum": 0.75, "nesterov": False, "ns_steps": 2},
        {"lr": 0.25, "weight_decay": 0.0625, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 1},
        {
            "lr": 0.25,
            "adjust_lr_fn": "original",
            "ns_coefficients": (2.0, -1.5, 0.5),
            "ns_steps": 1,
        },
        {"lr": 0.25, "eps": 0.5, "ns_steps": 0},
    ),
}


SPARSE: tuple[Arguments, ...] = (
    (),
    (("betas", (0.75, 0.875)), ("eps", 1e-3), ("maximize", True)),
)


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
    for lr in (2e-6, 40.0):  # down to the smallest step size, up to the largest
        checks.append(OptimizerCheck("Rprop", (("lr", lr),), own_rate=True))
    for kind in (DoubtCheck, TinyCheck, TinyProductCheck):
        checks.append(kind("Rprop", (("etas", (0.0625, 16.0)),)))
    for sparse in SPARSE:
        checks.append(SparseCheck("SparseAdam", sparse))
        checks.append(SparseCheck("SparseAdam", sparse, own_rate=True))
    checks += [SteadyCheck("RMSprop", (*STEADY, ("centered", True)))]
    return checks
