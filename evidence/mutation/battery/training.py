"""Training steps of a compiled graph beside torch's loop, parameters end to end and one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift
from evidence.mutation.battery.layers import Arguments, build

STEPS = 6
MOMENTUM = (("lr", 0.125), ("momentum", 0.75), ("weight_decay", 0.25))
DYADIC = (("lr", 0.125), ("momentum", 0.5))  # few steps stay exact in float32


@dataclass(frozen=True)
class TrainingCheck(Check):
    """tanh(W x + b), then dropout, batch norm, and the squared error; every step a rate.

    Args:
        optimizer, arguments: on both sides.
        width: features of the input; many lie beyond what is kept end to end.
        clip: bounds of the gradient's norm and elements.
        rates: whether the rate changes from step to step.
    """

    optimizer: str
    arguments: Arguments
    width: int = 3
    clip: tuple[float | None, float | None] = (None, None)
    rates: bool = True

    @property
    def name(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self.arguments)
        rest = f"{self.width} features, clipped to {self.clip}{', its rate' * (not self.rates)}"
        return f"Training by {self.optimizer}({shown}), {rest}"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        w = self.width
        return {"fc.weight": (4, w), "fc.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)}

    def graph(self) -> Any:
        sizes = (("in_features", self.width), ("out_features", 4))
        nodes = [
            ("fc", build("Linear", sizes), ("x",)),
            ("act", build("Tanh", ()), ("fc",)),
            ("drop", build("Dropout", (("p", 0.25),)), ("act",)),
            ("wide", build("Unflatten", (("dim", 1), ("unflattened_size", (4, 1, 1)))), ("drop",)),
            ("norm", build("BatchNorm2d", (("num_features", 4),)), ("wide",)),
            ("flat", build("Flatten", ()), ("norm",)),
            ("loss", build("MSELoss", (("reduction", "sum"),)), ("flat", "t")),
        ]
        return import_module("manual").Graph(nodes, inputs=("x", "t"))

    def batch(self, seed: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, t = self.draw(seed, (5, self.width), "x", step), self.draw(seed, (5, 4), "t", step)
        mask = (self.draw(seed, (5, 4), "mask", step) > -0.5).astype(np.float64)
        return x, t, mask

    def rate(self, step: int) -> float | None:
        return (0.125, 0.0625, 0.25)[step % 3] if self.rates else None

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        training = import_module("manual.training").Training
        net = self.graph()
        net = net.with_params({k: lift(self.draw(seed, s, k)) for k, s in self.shapes.items()})
        net = net.with_buffers({k: lift(b) if b.dtype.kind == "f" else b
                                for k, b in net.buffers.items()})  # fmt: skip
        norm, value = self.clip
        run = training(net, build(self.optimizer, self.arguments), clip_norm=norm, clip_value=value)
        values: Values = {}
        seen: list[tuple[int, Any]] = []
        for step in range(STEPS):
            x, t, mask = self.batch(seed, step)
            loss = run.step(lift(x), lift(t), lr=self.rate(step), noise={"drop": mask})
            seen.append((step, (loss, run.params, run.states, run.buffers)))
        for step, found in seen:  # after the last step: what was returned is the caller's
            values |= _keyed(step, *found)
        own = {k: self.draw(seed, s, k) for k, s in self.shapes.items()}
        return values | {Key(k, "left alone"): net.params[k] for k in own}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch
        from torch.nn import Parameter, functional

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref import optimizers
        from torch_ref.side import array_of

        start = {k: self.draw(seed, s, k) for k, s in self.shapes.items()}
        params = {k: Parameter(tensor(p, dtype)) for k, p in start.items()}
        optimizer = optimizers.build(self.optimizer, params, dict(self.arguments))
        norm = torch.nn.BatchNorm2d(4).to(params["fc.bias"].dtype)
        values: Values = {}
        for step in range(STEPS):
            x, t, mask = (tensor(a, dtype) for a in self.batch(seed, step))
            h = functional.linear(x, params["fc.weight"], params["fc.bias"]).tanh() * mask / 0.75
            own: dict[str, Any] = {k: params[f"norm.{k}"] for k in ("weight", "bias")}
            y = torch.func.functional_call(norm, own, h[..., None, None])
            loss = (y.flatten(1) - t).square().sum()
            optimizer.zero_grad()
            loss.backward()
            if self.clip[0] is not None:
                torch.nn.utils.clip_grad_norm_(params.values(), self.clip[0])
            if self.clip[1] is not None:
                torch.nn.utils.clip_grad_value_(params.values(), self.clip[1])
            rate = self.rate(step)
            if self.rates and rate is not None:
                optimizers.set_lr(optimizer, rate)
            optimizer.step()
            arrays = {k: array_of(p).copy() for k, p in params.items()}
            state = optimizers.state_of(optimizer, params)
            copies = {n: {k: array_of(v).copy() for k, v in s.items()} for n, s in state.items()}
            buffers = {f"norm.{k}": array_of(b).copy() for k, b in norm.named_buffers()}
            values |= _keyed(step, array_of(loss).copy(), arrays, copies, buffers)
        return values | {Key(k, "left alone"): p.astype(dtype) for k, p in start.items()}


@dataclass(frozen=True)
class LiftedCheck(ExactCheck):
    """Two steps in float32, then float64 data: gradients no longer fit the flat buffer.

    On dyadic numbers, which both dtypes hold: not one bit may differ from torch in float64.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)

    @property
    def name(self) -> str:
        return "Training in float32, then on float64 data"

    def numbers(self, seed: int, *what: Any, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng(seed, *what).integers(-2, 3, shape).astype(np.float64)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        nodes = [
            ("fc", build("Linear", (("in_features", 2), ("out_features", 3))), ("x",)),
            ("loss", build("MSELoss", (("reduction", "sum"),)), ("fc", "t")),
        ]
        net = import_module("manual").Graph(nodes, inputs=("x", "t"))
        shapes = {k: p.shape for k, p in net.params.items()}
        net = net.with_params({k: self.numbers(seed, k, shape=s).astype(np.float32)
                               for k, s in shapes.items()})  # fmt: skip
        run = import_module("manual.training").Training(net, build("SGD", DYADIC))
        values: Values = {}
        for step in range(4):
            kind = np.float32 if step < 2 else np.float64
            x, t = (self.numbers(seed, k, step, shape=s).astype(kind) for k, s in self.data)
            loss = run.step(x, t)
            found = _keyed(step, loss, run.params, run.states, {})
            values |= {k: np.asarray(v, np.float64) for k, v in found.items()}
        return values

    data: ClassVar[tuple[tuple[str, tuple[int, int]], ...]] = (("x", (4, 2)), ("t", (4, 3)))

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch
        from torch.nn import Parameter

        from torch_ref import optimizers
        from torch_ref.side import array_of

        shapes = {"fc.weight": (3, 2), "fc.bias": (3,)}
        params = {k: Parameter(torch.tensor(self.numbers(seed, k, shape=s)))
                  for k, s in shapes.items()}  # fmt: skip
        optimizer = optimizers.build("SGD", params, dict(DYADIC))
        values: Values = {}
        for step in range(4):
            x, t = (torch.tensor(self.numbers(seed, k, step, shape=s)) for k, s in self.data)
            y = x @ params["fc.weight"].T + params["fc.bias"]
            loss = (y - t).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            arrays = {k: array_of(p).copy() for k, p in params.items()}
            state = optimizers.state_of(optimizer, params)
            copies = {n: {k: array_of(v).copy() for k, v in s.items()} for n, s in state.items()}
            values |= _keyed(step, array_of(loss).copy(), arrays, copies, {})
        return values


def _keyed(step: int, loss: Any, params: Any, states: Mapping[str, Any], buffers: Any) -> Values:
    where = f"step {step}"
    values = {Key(where, "loss"): loss}
    values |= {Key(where, f"param:{k}"): p for k, p in params.items()}
    values |= {Key(where, f"buffer:{k}"): b for k, b in buffers.items()}
    for name, state in states.items():
        for key, value in state.items():
            shown = np.float64(value) if key == "step" else value
            values[Key(where, f"{key}:{name}")] = shown
    return values


@cache
def training_checks() -> list[Check]:
    """Return training by an optimiser of one state, of two, clipped, and beyond the flat buffer."""
    adam = (("lr", 0.125),)
    return [
        TrainingCheck("SGD", (("lr", 0.125),)),
        TrainingCheck("SGD", MOMENTUM),
        TrainingCheck("SGD", MOMENTUM, rates=False),
        TrainingCheck("SGD", MOMENTUM, clip=(0.5, None)),
        TrainingCheck("SGD", MOMENTUM, clip=(None, 0.25)),
        TrainingCheck("SGD", MOMENTUM, clip=(0.5, 0.125)),
        TrainingCheck("Adam", adam),
        TrainingCheck("Adam", adam, clip=(0.5, None)),
        LiftedCheck(),
    ]
