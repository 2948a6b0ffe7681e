"""Layers beside torch's modules: values, input gradients, parameter gradients.

All inputs of a case go forward before any goes backward, on one layer, and backward runs twice: a
cache kept on the layer, or written into, shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift
from evidence.mutation.battery.data import Shape, make

Arguments = tuple[tuple[str, Any], ...]


class Sample(NamedTuple):
    """One way of calling a layer: a name, and the input arrays."""

    name: str
    inputs: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class LayerCheck(Check):
    """One layer with its arguments, on several inputs.

    Args:
        type, arguments: the class on both sides, and what it is built with.
        shapes: one entry per input array, for each way of calling it.
        kinds: of numbers, each with every shape.
    """

    type: str
    arguments: Arguments = ()
    shapes: tuple[tuple[Shape, ...], ...] = (((4, 3),), ((1, 5),))
    kinds: tuple[str, ...] = ("random",)

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"{self.type}({shown}) on {'/'.join(self.kinds)}"

    def samples(self, seed: int) -> Iterator[Sample]:
        for kind in self.kinds:
            for shapes in self.shapes:
                rng = self.rng(seed, kind, shapes)
                yield Sample(
                    f"{kind} {len(shapes)}x{shapes[0]}", tuple(make(kind, rng, s) for s in shapes)
                )

    def upstream(self, seed: int, sample: Sample, shape: Shape) -> np.ndarray:
        return self.draw(seed, shape, sample.name, "upstream")

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.arguments)
        shapes = {key: p.shape for key, p in layer.params.items()}
        first = layer.with_params({k: lift(p) for k, p in self.params(seed, shapes).items()})
        first.with_params({k: lift(p) for k, p in self.params(seed + 1, shapes).items()})
        samples = list(self.samples(seed))
        inputs = [tuple(map(lift, s.inputs)) for s in samples]
        runs = [first.forward(*x) for x in inputs]
        values: Values = {}
        for sample, (y, cache_) in zip(samples, runs, strict=True):
            dy = lift(self.upstream(seed, sample, y.shape))
            for again in ("", " again"):
                grads, own = first.backward(dy, cache_)
                alone = first.grad_params(dy, cache_)
                values |= keyed(sample.name + again, y, grads, own)
                values |= {Key(sample.name + again, f"alone:{k}"): g for k, g in alone.items()}
        return values

    def params(self, seed: int, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
        return {key: self.draw(seed, shape, key) for key, shape in shapes.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, run_module

        twin = module(self.type, dict(self.arguments), dtype)
        shapes = {key: tuple(p.shape) for key, p in twin.named_parameters()}
        params = self.params(seed, shapes)
        values: Values = {}
        for sample in self.samples(seed):
            upstream = lambda shape, s=sample: self.upstream(seed, s, shape)  # noqa: E731
            y, grads, own = run_module(twin, params, sample.inputs, upstream, dtype)
            for again in ("", " again"):
                values |= keyed(sample.name + again, y, grads, own)
                values |= {Key(sample.name + again, f"alone:{k}"): g for k, g in own.items()}
        return values


@dataclass(frozen=True)
class ExactLayerCheck(LayerCheck, ExactCheck):
    """The same on whole numbers, with a whole upstream gradient: not one bit may differ."""

    kinds: tuple[str, ...] = ("ties",)

    @property
    def name(self) -> str:
        return f"{super().name}, bit for bit"

    def upstream(self, seed: int, sample: Sample, shape: Shape) -> np.ndarray:
        return make("ties", self.rng(seed, sample.name, "upstream"), shape) + 0.5

    def params(self, seed: int, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
        return {k: make("ties", self.rng(seed, k), shape) for k, shape in shapes.items()}


def keyed(sample: str, y: Any, grads: Any, own: Any) -> Values:
    values = {Key(sample, "output"): y}
    values |= {Key(sample, f"grad_input#{i}"): g for i, g in enumerate(grads)}
    return values | {Key(sample, f"grad:{k}"): g for k, g in own.items()}


def build(type_name: str, arguments: Arguments) -> Any:
    """Build a hand-written class of the `manual` that is loaded now."""
    from importlib import import_module

    registry = import_module("manual.registry")
    tables = (registry.LAYERS, registry.GATES, registry.LOSSES, registry.PENALTIES,
              registry.OPTIMIZERS)  # fmt: skip
    return next(t[type_name] for t in tables if type_name in t)(**dict(arguments))
