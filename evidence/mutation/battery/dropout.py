"""Dropout beside torch's, with torch's masks; and the share that it keeps when it draws its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import build


@dataclass(frozen=True)
class DropoutCheck(Check):
    """Dropout given the masks that torch's nn.Dropout drew, then none, which is evaluation.

    All three go forward before any goes backward. `in_graph` asks a graph that is given no noise.
    """

    p: float | None
    in_graph: bool = False

    @property
    def name(self) -> str:
        return f"Dropout({'' if self.p is None else self.p}){' in a graph' * self.in_graph}"

    @property
    def arguments(self) -> dict[str, float]:
        return {} if self.p is None else {"p": self.p}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build("Dropout", tuple(self.arguments.items()))
        x = lift(self.draw(seed, (6, 7), "x"))
        if self.in_graph:
            net = import_module("manual").Graph([("drop", layer, ("input",))])
            return {Key("evaluation", "output"): net.run(x).output}
        dy = lift(self.draw(seed, (6, 7), "dy"))
        masks = _masked(self, dtype, seed)[1]
        runs = {name: layer.forward(x, **mask) for name, mask in masks.items()}
        values = {Key(name, "output"): y for name, (y, _) in runs.items()}
        back = {name: layer.backward(dy, cache_)[0][0] for name, (_, cache_) in runs.items()}
        return values | {Key(name, "grad_input"): dx for name, dx in back.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        values = _masked(self, dtype, seed)[0]
        only = Key("evaluation", "output")
        return {only: values[only]} if self.in_graph else values


Masks = dict[str, dict[str, np.ndarray]]  # the noise if there is one


@cache
def _masked(check: DropoutCheck, dtype: np.dtype, seed: int) -> tuple[Values, Masks]:
    """Return torch's outputs and gradients, and the masks behind them, as float64."""
    import torch
    from torch import nn

    from evidence.mutation.battery.torch_side import run_module

    x, dy = check.draw(seed, (6, 7), "x"), check.draw(seed, (6, 7), "dy")
    values: Values = {}
    masks: Masks = {}
    for offset, name in enumerate(("first", "second", "evaluation")):
        twin = (nn.Dropout() if check.p is None else nn.Dropout(check.p)).train(
            name != "evaluation"
        )

        def run(array: np.ndarray, twin: Any = twin, offset: int = offset) -> Any:
            torch.manual_seed(seed + offset)
            return run_module(twin, {}, (array,), lambda _: dy, dtype)

        with torch.random.fork_rng():
            y, (dx,), _ = run(x)
            mask = (run(np.ones_like(x))[0] != 0).astype(np.float64)
        values |= {Key(name, "output"): y, Key(name, "grad_input"): dx}
        masks[name] = {"noise": mask} if twin.training else {}
    return values, masks


class Ladder(np.random.Generator):
    """A generator whose uniform numbers are 0, 1/n, 2/n, …, so that shares come out exact."""

    def random(self, shape: Any = None, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        n = int(np.prod(shape))
        return (np.arange(n) / n).reshape(shape)


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
    """Return all probabilities of dropping, given masks and drawing them."""
    given = [DropoutCheck(p) for p in (None, 0.0, 0.25, 1.0)]
    drawn = [DrawnNoiseCheck(p) for p in (0.0, 0.25, 0.75)]
    return [*given, DropoutCheck(0.25, in_graph=True), *drawn]
