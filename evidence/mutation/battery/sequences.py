"""Masks, positions and parameter groups: what has no gradient, or no rule, of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

X = np.zeros((2, 3, 1))


def _masks() -> Any:
    manual = import_module("manual.masks")
    time, first, places = manual.CausalMask(), manual.CausalMask(dim=0), manual.Positions()
    found = [layer.forward(X) for layer in (time, first, manual.CausalMask(dim=-3), places)]
    grads = [layer.backward(None, found[0][1]) for layer in (time, places)]
    wrong = [manual.CausalMask(dim) for dim in (3, -4)]
    return [y for y, _ in found], grads, [_refused(w, X) for w in wrong], _refused(places, X[0, 0])


def _refused(layer: Any, x: np.ndarray) -> bool:
    try:
        layer.forward(x)
    except ValueError:
        return True
    return False


def _groups() -> Any:
    groups, sgd = import_module("manual.optimizers.groups").Groups, import_module("manual").SGD
    rules = [(["a"], sgd(lr=0.5, weight_decay=1.0)), (["a", "b"], sgd(lr=0.5, weight_decay=2.0))]
    optimizer = groups(sgd(lr=0.5, momentum=0.5), rules)
    ones = {name: np.ones(1) for name in "abc"}
    params, _ = optimizer.step(ones, ones, {})
    memory = {"momentum_buffer": np.full(1, 2.0)}
    return optimizer.lr, params, optimizer.update(np.ones(1), np.full(1, 3.0), memory, 0.25)


EARLIER = np.triu(np.ones((3, 3)), 1)
SEQUENCES: dict[str, tuple[Callable[[], Any], Any]] = {
    "masks and positions": (
        _masks,
        (
            [EARLIER, EARLIER[1:, 1:], EARLIER[1:, 1:], np.array([[0, 1, 2], [0, 1, 2]])],
            [((None,), {})] * 2, [True] * 2, True,
        ),
    ),
    "groups of parameters": (
        _groups,
        (
            0.5,
            {name: np.array([p]) for name, p in (("a", 0.0), ("b", -0.5), ("c", 0.5))},
            (np.zeros(1), {"momentum_buffer": np.full(1, 4.0)}),
        ),
    ),
}  # fmt: skip
