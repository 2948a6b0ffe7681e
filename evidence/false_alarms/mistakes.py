"""Planted mistakes: what the hand-written side would have returned, had its author slipped.

Each kind is a function of one correct tensor and its place in the step. It returns the wrong
tensor, or None where this mistake cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
from compare.pair.manual_side import ManualSide
from manual.graph import Node
from manual.linear import Linear
from manual.softmax import LogSoftmax


class Place(NamedTuple):
    """Where a mistake is made: the tensor's key, all of the step's values, and the network."""

    key: Key
    values: Values
    side: ManualSide
    x: np.ndarray
    params: dict[str, np.ndarray]
    rng: np.random.Generator

    @property
    def node(self) -> Node:
        layer = (
            self.key.layer.replace(":", ".") + "."
        )  # a second output, a part: attention.out_proj
        return next(n for n in self.side.graph.nodes if layer.startswith(f"{n.name}."))

    @property
    def batch(self) -> int:
        return len(self.x)

    @property
    def consumers(self) -> list[Node]:
        return [n for n in self.side.graph.nodes if self.key.layer in n.inputs]

    def output(self, name: str) -> np.ndarray:
        return self.x if name == "input" else self.values[Key(name, "output")]

    def grad(self, name: str) -> np.ndarray:
        return self.values[Key(name, "grad_output")]


Wrong = np.ndarray | None
Mistake = Callable[[np.ndarray, Place], Wrong]


def scaled(factor: float, g: np.ndarray, place: Place) -> Wrong:
    return g * factor


def times_batch(g: np.ndarray, place: Place) -> Wrong:
    return g * place.batch


def over_batch(g: np.ndarray, place: Place) -> Wrong:
    return g / place.batch


def n_for_n_minus_1(g: np.ndarray, place: Place) -> Wrong:
    return g * ((place.batch - 1) / place.batch)


def one_element(g: np.ndarray, place: Place) -> Wrong:
    wrong, nonzero = g.copy(), np.flatnonzero(g)
    if nonzero.size:
        wrong.reshape(-1)[place.rng.choice(nonzero)] *= 1.01
    return wrong


def constant_added(g: np.ndarray, place: Place) -> Wrong:
    return g + 1e-3 * np.abs(g).max()


def absolute(g: np.ndarray, place: Place) -> Wrong:
    return np.abs(g)


def transposed(g: np.ndarray, place: Place) -> Wrong:
    return g.T.copy() if g.ndim == 2 and g.shape[0] == g.shape[1] else None


def shifted(axis: int, g: np.ndarray, place: Place) -> Wrong:
    return np.roll(g, 1, axis=axis)


def row_times(factor: float, g: np.ndarray, place: Place) -> Wrong:
    wrong = g.copy()
    wrong[place.rng.integers(len(g))] *= factor
    return wrong


def sample_dropped(g: np.ndarray, place: Place) -> Wrong:
    """A Linear's gradient as the sum over all samples but the first."""
    if not isinstance(place.node.layer, Linear) or place.batch == 1:
        return None
    dy = _rows(place.grad(place.key.layer)[0])
    if place.key.quantity == "grad:weight":
        return g - dy.T @ _rows(place.output(place.node.inputs[0])[0])
    return g - dy.sum(axis=0) if place.key.quantity == "grad:bias" else None


def _rows(sample: np.ndarray) -> np.ndarray:
    """Return what a Linear takes of one sample: its last axis in rows."""
    return sample.reshape(-1, sample.shape[-1])


def bias_not_summed(g: np.ndarray, place: Place) -> Wrong:
    """The first sample's row times the batch size, in place of the sum over samples."""
    if not isinstance(place.node.layer, Linear) or place.key.quantity != "grad:bias":
        return None
    dy = _rows(place.grad(place.key.layer))
    return g - dy.sum(axis=0) + dy[0] * len(dy) if place.batch > 1 else None


def _activation_after(place: Place) -> Node | None:
    """Return the one parameterless function of one input that takes this node's output."""
    if place.key.quantity != "grad_output" or len(place.consumers) != 1:
        return None
    (node,) = place.consumers
    alone = len(node.inputs) == 1 and not node.layer.params and not node.layer.stochastic
    return node if alone else None


def derivative_missing(g: np.ndarray, place: Place) -> Wrong:
    """Backward hands the upstream gradient on without f′."""
    node = _activation_after(place)
    if node is None or place.grad(node.name).shape != g.shape:
        return None
    return place.grad(node.name).copy()


def derivative_at_output(g: np.ndarray, place: Place) -> Wrong:
    """Backward takes f′(y) for f′(x); no mistake where f(f(x)) = f(x), as for LogSoftmax."""
    node = _activation_after(place)
    if node is None or place.output(node.name).shape != g.shape:
        return None
    if isinstance(node.layer, LogSoftmax):
        return None
    try:
        _, cache = node.layer.forward(place.output(node.name))
        return node.layer.backward(place.grad(node.name), cache)[0][0]
    except ValueError:  # its output is of another shape than its input
        return None


def branch_forgotten(g: np.ndarray, place: Place) -> Wrong:
    """The gradient that came through a skip connection is not added."""
    skips = [n for n in place.consumers if type(n.layer).__name__ == "Add"]
    if place.key.quantity != "grad_output" or not skips or len(place.consumers) < 2:
        return None
    return g - place.grad(skips[0].name)


def penalty_forgotten(g: np.ndarray, place: Place) -> Wrong:
    """The loss's penalty is left out of a parameter's gradient."""
    kind, _, parameter = place.key.quantity.partition(":")
    name = f"{place.key.layer}.{parameter}"
    for penalty, names in place.side.penalties:
        if kind == "grad" and name in names:
            value, cache = penalty.forward(place.params[name])
            return g - penalty.backward(np.ones_like(value), cache)[0][0]
    return None


def float32_inside(g: np.ndarray, place: Place) -> Wrong:
    return g.astype(np.float32).astype(np.float64) if g.dtype == np.float64 else None


MISTAKES: dict[str, Mistake] = {
    "zeros": partial(scaled, 0.0),
    "negated": partial(scaled, -1.0),
    "doubled": partial(scaled, 2.0),
    "halved": partial(scaled, 0.5),
    "times the batch size": times_batch,
    "divided by the batch size": over_batch,
    "n for n - 1": n_for_n_minus_1,
    "1 % too large": partial(scaled, 1.01),
    "one element off by 1 %": one_element,
    "constant of 0.1 % added": constant_added,
    "absolute value": absolute,
    "transposed": transposed,
    "rows shifted by one": partial(shifted, 0),
    "columns shifted by one": partial(shifted, -1),
    "sign of one row": partial(row_times, -1.0),
    "one row zero": partial(row_times, 0.0),
    "one sample dropped": sample_dropped,
    "bias not summed": bias_not_summed,
    "derivative missing": derivative_missing,
    "derivative at the output": derivative_at_output,
    "branch forgotten": branch_forgotten,
    "penalty forgotten": penalty_forgotten,
    "float32 inside float64": float32_inside,
}


def plant(mistake: Mistake, place: Place) -> Wrong:
    """Return the wrong tensor; None where it equals the right one but for rounding, or overflows.

    A change by less than 8 units in the last place of every element is no mistake: a gradient
    whose columns are equal may well be shifted.
    """
    right = place.values[place.key]
    with np.errstate(all="ignore"):
        wrong = mistake(right, place)
        if wrong is None or not np.isfinite(wrong).all():
            return None
        wrong = wrong.astype(right.dtype, copy=False)
        noise = 8 * np.finfo(right.dtype).eps * np.abs(right)
        return wrong if (np.abs(wrong - right) > noise).any() else None


def planted(places: list[Place], rng: np.random.Generator) -> dict[str, tuple[Key, Any]]:
    """Make every mistake once, each in a randomly chosen tensor in which it can be made."""
    found: dict[str, tuple[Key, Any]] = {}
    for name, mistake in MISTAKES.items():
        for i in rng.permutation(len(places)):
            wrong = plant(mistake, places[i])
            if wrong is not None:
                found[name] = places[i].key, wrong
                break
    return found
