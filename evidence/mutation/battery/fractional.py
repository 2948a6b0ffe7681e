"""Fractional max pooling with the random numbers that torch drew, and with its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift
from evidence.mutation.battery.layers import build

SHAPES = {2: ((2, 3, 7, 6), (3, 4, 6)), 3: ((2, 1, 5, 7, 6), (2, 6, 5, 5))}


@dataclass(frozen=True)
class FractionalCheck(Check):
    """A batch and a single image, given what torch.rand gave torch's module.

    Besides: the shape of what `draw` draws, and that it fills the range from 0 to 1 alone.
    """

    axes: int

    @property
    def name(self) -> str:
        return f"FractionalMaxPool{self.axes}d on torch's random numbers"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(f"FractionalMaxPool{self.axes}d", (("kernel_size", 2), ("output_size", 3)))
        values = {}
        for i, shape in enumerate(SHAPES[self.axes]):
            x, noise = lift(self.draw(seed, shape, f"x{i}")), _drawn(self, dtype, seed)[1][i]
            y, cache_ = layer.forward(x, noise=noise)
            values[Key(f"{i}", "output")] = y
            dy = lift(self.draw(seed, y.shape, f"dy{i}"))
            values[Key(f"{i}", "grad_input")] = layer.backward(dy, cache_)[0][0]
            many = np.stack([layer.draw(x, rng=np.random.default_rng(k)) for k in range(200)])
            values[Key(f"{i}", "drawn")] = np.array(many.shape, float)
            values[Key(f"{i}", "range")] = np.round(
                np.array([many.min() + 0.02, many.max() - 0.02], float), 1
            )
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return _drawn(self, dtype, seed)[0]


@cache
def _drawn(check: FractionalCheck, dtype: np.dtype, seed: int) -> tuple[Values, list[Any]]:
    """Return torch's values, and the numbers behind them."""
    import torch

    from evidence.mutation.battery.torch_side import tensor
    from torch_ref.draws import Recorder
    from torch_ref.side import array_of

    torch.manual_seed(seed)
    twin = getattr(torch.nn, f"FractionalMaxPool{check.axes}d")(2, output_size=3)
    values, noise = {}, []
    for i, shape in enumerate(SHAPES[check.axes]):
        x = tensor(check.draw(seed, shape, f"x{i}"), dtype).requires_grad_()
        with Recorder() as recorder:
            y = twin(x)
        (drawn,) = recorder.draws
        noise.append(array_of(drawn))
        dy = tensor(check.draw(seed, tuple(y.shape), f"dy{i}"), dtype)
        values[Key(f"{i}", "output")] = array_of(y)
        values[Key(f"{i}", "grad_input")] = array_of(torch.autograd.grad(y, x, dy)[0])
        values[Key(f"{i}", "drawn")] = np.array((200, *drawn.shape), float)
        values[Key(f"{i}", "range")] = np.array([0.0, 1.0])
    return values, noise


@cache
def fractional_checks() -> list[Check]:
    """Return the checks of both classes."""
    return [FractionalCheck(2), FractionalCheck(3)]
