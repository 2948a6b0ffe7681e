"""Layers that draw beside torch's, with torch's draws; and what they make of draws of their own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.data import Shape
from evidence.mutation.battery.layer_table import OF_PORTS, shapes_of
from evidence.mutation.battery.layers import Arguments, build
from manual import registry


@dataclass(frozen=True)
class NoiseCheck(Check):
    """A random layer given what torch's drew, then nothing, which is evaluation.

    All three go forward before any goes backward. `in_graph` asks a graph that is given no noise.
    """

    type: str
    given: Arguments = ()
    shape: Shape = (6, 7)
    in_graph: bool = False

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.given)
        return f"{self.type}({shown}) on {self.shape}{' in a graph' * self.in_graph}"

    def x(self, seed: int) -> np.ndarray:
        """Return numbers, every third of them 0."""
        x = self.draw(seed, self.shape, "x")
        return np.where(np.arange(x.size).reshape(x.shape) % 3, x, 0)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.given)
        x = lift(self.x(seed))
        if self.in_graph:
            net = import_module("manual").Graph([("drop", layer, ("input",))])
            return {Key("evaluation", "output"): net.run(x).output}
        dy = lift(self.draw(seed, self.shape, "dy"))
        masks = _masked(self, dtype, seed)[1]
        runs = {name: layer.forward(x, **mask) for name, mask in masks.items()}
        values = {Key(name, "output"): y for name, (y, _) in runs.items()}
        back = {name: layer.backward(dy, cache_)[0][0] for name, (_, cache_) in runs.items()}
        values |= {Key(name, "grad_input"): dx for name, dx in back.items()}
        values[RANDOM] = np.float64(layer.stochastic)
        if DRAWN in _masked(self, dtype, seed)[0]:
            drawn = layer.draw(np.ones(self.shape), rng=Ladder(np.random.PCG64(0)))
            values[DRAWN] = np.asarray(drawn, float)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        values = _masked(self, dtype, seed)[0]
        only = Key("evaluation", "output")
        return {only: values[only]} if self.in_graph else values


DRAWN, RANDOM = Key("own", "drawn"), Key("own", "random")
Masks = dict[str, dict[str, np.ndarray]]  # the noise if there is one


@cache
def _masked(check: NoiseCheck, dtype: np.dtype, seed: int) -> tuple[Values, Masks]:
    """Return torch's outputs and gradients, and the noise behind them, as float64."""
    import torch

    from evidence.mutation.battery.torch_side import run_module
    from torch_ref.classes import module_class
    from torch_ref.draws import Recorder, drawn_by_none

    x, dy = check.x(seed), check.draw(seed, check.shape, "dy")
    values: Values = {RANDOM: np.float64(True)}
    masks: Masks = {}
    for offset, name in enumerate(("first", "second", "evaluation")):
        twin = module_class(check.type)(**dict(check.given)).train(name != "evaluation")
        with torch.random.fork_rng(), warnings.catch_warnings(), Recorder() as recorder:
            warnings.simplefilter("ignore")  # of images of three axes
            torch.manual_seed(seed + offset)
            y, (dx,), _ = run_module(twin, {}, (x,), lambda _: dy, dtype)
        values |= {Key(name, "output"): y, Key(name, "grad_input"): dx}
        found = recorder.draws or drawn_by_none(twin, torch.ones(check.shape))
        masks[name] = {"noise": found[0].double().numpy()} if twin.training else {}
        if name == "first" and recorder.draws:
            steps = Ladder(np.random.PCG64(0)).random(masks[name]["noise"].shape)
            values[DRAWN] = _drawn(twin, steps)
    return values, masks


def _drawn(twin: Any, steps: np.ndarray) -> np.ndarray:
    """Return what evenly spread numbers make a layer draw."""
    if hasattr(twin, "lower"):
        return twin.lower + (twin.upper - twin.lower) * steps
    return (steps >= twin.p).astype(float)


class Ladder(np.random.Generator):
    """A generator whose uniform numbers are 0, 1/n, 2/n, …, so that shares come out exact."""

    def random(self, shape: Any = None, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        n = int(np.prod(shape))
        return (np.arange(n) / n).reshape(shape)

    def uniform(self, low: Any = 0, high: Any = 1, size: Any = None) -> Any:  # type: ignore[override]
        return low + (high - low) * self.random(size)


@dataclass(frozen=True)
class DrawnNoiseCheck(FixedCheck):
    """A graph that draws its dropout masks itself: the share kept, and their scale."""

    p: float
    rtol: ClassVar[float] = 0.02

    @property
    def name(self) -> str:
        return f"Graph with Dropout({self.p}) and a generator of noise"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        nodes = [("drop", build("Dropout", (("p", self.p),)), ("input",))]
        net = import_module("manual").Graph(nodes)
        y = net.run(lift(np.ones((8, 8))), noise=Ladder(np.random.PCG64(0))).output
        return _share(np.asarray(y))

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            y = torch.nn.Dropout(self.p)(torch.ones(1000, 1000, dtype=torch.float64))
        return _share(y.numpy())


def _share(y: np.ndarray) -> Values:
    share, largest = np.mean(y != 0), y.max()
    return {Key("", "share kept"): np.float64(share), Key("", "scale"): np.float64(largest)}


@cache
def dropout_checks() -> list[Check]:
    """Return every layer that draws and has no parameters, as its examples say."""
    given = [
        NoiseCheck(name, tuple(example.arguments.items()), shape)
        for name, cls in registry.LAYERS.items()
        if cls.stochastic and name not in OF_PORTS and not cls(**cls.examples[0].arguments).params
        for example in cls.examples
        for shape in shapes_of(example)
    ]
    drawn = [DrawnNoiseCheck(p) for p in (0.0, 0.25, 0.75)]
    return [*given, NoiseCheck("Dropout", (("p", 0.25),), in_graph=True), *drawn]
