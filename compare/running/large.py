"""Large parameters in a gauged run: tolerances are kept, not the gauge arrays they come from.

An array of values and squared errors takes four times the memory of the float32 numbers it is of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.gauge import Gauge, strayed
from compare.judge.judge import gauged
from compare.judge.quantities import Key, Values, of_update
from compare.pair.manual_side import ManualSide, States
from manual.optimizers import Optimizer

LARGE = 1 << 20  # elements of an array whose gauge is not kept without need
BLOCK = 1 << 18  # elements that are updated at a time


def freed(values: Values, plain: Values, dtype: np.dtype, k: float) -> dict[Key, Any]:
    """Take large arrays out that computed what the plain run did; return their tolerances."""
    tolerances: dict[Key, Any] = {}
    for key in [key for key, value in values.items() if np.size(value) > LARGE]:
        one = {key: values.pop(key)}
        tolerances |= gauged(one, dtype, k)
        if strayed(one, plain, tolerances):
            values |= one
    return tolerances


class InBlocks(Optimizer):
    """An optimiser that moves each large parameter in blocks, which are judged and let go.

    What it made of them is not in what `step` returns: `tolerances` says how far each may differ.
    A parameter that comes out otherwise than in the plain run is moved whole, as any other.
    """

    def __init__(self, optimizer: Optimizer, plain: Values, dtype: np.dtype, k: float) -> None:
        self.optimizer, self.plain, self.dtype, self.k = optimizer, plain, dtype, k
        self.lr = optimizer.lr
        self.tolerances: dict[Key, Any] = {}

    @classmethod
    def side(cls, side: ManualSide, plain: Values, dtype: np.dtype, k: float) -> ManualSide:
        """Return a side that updates so; the same one if its optimiser looks at whole arrays."""
        whole = type(side.optimizer).step is not Optimizer.step or type(side) is not ManualSide
        return side if whole else side._replace(optimizer=cls(side.optimizer, plain, dtype, k))

    def rule_for(self, name: str) -> Optimizer:
        return self.optimizer.rule_for(name)

    def update(self, param: Any, grad: Any, state: Any, lr: float) -> tuple[Any, Any]:
        return self.optimizer.update(param, grad, state, lr)

    def step(
        self, params: Mapping[str, Any], grads: Mapping[str, Any], states: Any, lr: Any = None
    ) -> tuple[dict[str, Any], States]:
        moved = [name for name in self.moved(params, grads) if self._large(name, grads[name])]
        done = {name for name in moved if self._judged(name, params, grads, states, lr)}
        left = {name: param for name, param in params.items() if name not in done}
        kept = {name: grad for name, grad in grads.items() if name not in done}
        return self.optimizer.step(left, kept, states, lr)

    def _large(self, name: str, grad: Any) -> bool:
        return self.rule_for(name).elementwise and isinstance(grad, Gauge) and grad.size > LARGE

    def _judged(self, name: str, params: Any, grads: Any, states: States, lr: Any) -> bool:
        """Move one parameter; return whether all of it came out as in the plain run."""
        rule, size = self.rule_for(name), params[name].size
        rate = self.lr if lr is None else float(lr)
        flat = [_flat(x) for x in (params[name], grads[name])]
        state = {key: _flat(value) for key, value in states.get(name, {}).items()}
        tolerances: dict[Key, Any] = {}
        for start in range(0, size, BLOCK):
            block = slice(start, start + BLOCK)
            part = {key: _part(value, block) for key, value in state.items()}
            param, part = rule.update(flat[0][block], flat[1][block], part, rate)
            values = of_update({name: param}, {name: part})
            found = gauged(values, self.dtype, self.k)
            plain = {key: _flat(self.plain[key]) for key in values if key in self.plain}
            if strayed(values, {key: _part(v, block) for key, v in plain.items()}, found):
                return False
            _put(found, block, params[name].shape, tolerances)
        self.tolerances |= tolerances
        return True


def let_go(side: ManualSide) -> dict[Key, Any]:
    """Return the tolerances of what a side that updates in blocks made and let go."""
    return side.optimizer.tolerances if isinstance(side.optimizer, InBlocks) else {}


def _flat(value: Any) -> Any:
    return value.reshape(-1) if np.ndim(value) else value


def _part(value: Any, block: slice) -> Any:
    return value[block] if np.ndim(value) else value


def _put(found: Mapping[Key, Any], block: slice, shape: tuple, into: dict[Key, Any]) -> None:
    """Put a block's tolerances where they belong; one number holds for all of them."""
    for key, tolerance in found.items():
        if not np.ndim(tolerance):
            into[key] = tolerance
            continue
        into.setdefault(key, np.empty(shape)).reshape(-1)[block] = tolerance
