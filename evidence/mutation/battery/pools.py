"""Which element of a window wins: among equals and nan, and where the winners are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift
from evidence.mutation.battery.data import Shape, make
from evidence.mutation.battery.layers import build
from manual import registry

CALLS = ("first", "second", "level", "diagonal")  # the last: larger along one diagonal


@dataclass(frozen=True)
class WinnersCheck(ExactCheck):
    """Max pooling as an example says: its winners, a window's gradient, and both when given.

    Args:
        number: which of the examples of MaxPool2d.
        nan: how many of a hundred elements are nan.
    """

    number: int
    nan: int = 0

    @property
    def name(self) -> str:
        return f"winners of example {self.number} of MaxPool2d, {self.nan} % nan"

    @property
    def arguments(self) -> dict[str, Any]:
        arguments = dict(registry.LAYERS["MaxPool2d"].examples[self.number].arguments)
        arguments.pop("return_indices", None)
        return arguments

    def x(self, seed: int, call: str) -> np.ndarray:
        rng = self.rng(seed, call)
        shape: Shape = registry.LAYERS["MaxPool2d"].examples[self.number].inputs[0]
        x = make("ties", rng, shape)
        if call in CALLS[2:]:
            down, across = np.indices(shape[-2:])
            x = np.ones(shape) + (call == "diagonal") * (down + across == shape[-1] - 1)
        return np.where(rng.random(shape) * 100 < self.nan, np.nan, x)

    def dy(self, seed: int, shape: Shape, call: str) -> np.ndarray:
        """Return the upstream gradient; on the diagonal one that equals what does not win."""
        drawn = make("ties", self.rng(seed, "upstream"), shape) + 0.5
        return np.ones(shape) if call == "diagonal" else drawn

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build("MaxPool2d", tuple(self.arguments.items()))
        xs = [lift(self.x(seed, call)) for call in CALLS]
        runs = [layer.forward(x) for x in xs]
        winners = [layer.decisions(cache_) for _, cache_ in runs]
        given = [layer.settled(w) for w in reversed(winners)]  # each with the other's winners
        settled = [one.forward(x) for one, x in zip(given, xs, strict=True)]
        values: Values = {}
        for i, call in enumerate(CALLS):
            dy = lift(self.dy(seed, runs[i][0].shape, call))
            values[Key(call, "winners")] = np.asarray(winners[i], dtype=np.float64)
            values[Key(call, "output")] = _named_nan(runs[i][0])
            values[Key(call, "grad_input")] = layer.backward(dy, runs[i][1])[0][0]
            taken = given[i].decisions(settled[i][1])
            values[Key(call, "winners, given")] = np.asarray(taken, dtype=np.float64)
            values[Key(call, "output, given")] = _named_nan(settled[i][0])
            values[Key(call, "grad_input, given")] = given[i].backward(dy, settled[i][1])[0][0]
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch
        from torch.nn import MaxPool2d

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        pool = MaxPool2d(**self.arguments, return_indices=True)
        xs = [tensor(self.x(seed, call), dtype).requires_grad_() for call in CALLS]
        runs = [pool(x) for x in xs]
        values: Values = {}
        for call, x, (y, own), (_, other) in zip(CALLS, xs, runs, reversed(runs), strict=True):
            dy = tensor(self.dy(seed, tuple(y.shape), call), dtype)
            given = x.flatten(-2).gather(-1, other.flatten(-2)).reshape(y.shape)
            for name, out, index in (("", y, own), (", given", given, other)):
                values[Key(call, f"winners{name}")] = array_of(index).astype(np.float64)
                values[Key(call, f"output{name}")] = _named_nan(array_of(out))
                (dx,) = torch.autograd.grad(out, x, dy)
                values[Key(call, f"grad_input{name}")] = array_of(dx).copy()
        return values


def _named_nan(y: np.ndarray) -> np.ndarray:
    """Put a number that is no element in the place of nan, which equals nothing."""
    return np.where(np.isnan(y), 99, y)


@cache
def winner_checks() -> list[Check]:
    """Return every example of MaxPool2d, with and without nan."""
    count = len(registry.LAYERS["MaxPool2d"].examples)
    return [WinnersCheck(number, nan) for number in range(count) for nan in (0, 20)]
