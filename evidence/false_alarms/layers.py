"""Random layers: blocks that are appended to one another, with branches that join again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from compare.pair.example import is_real, made
from evidence.false_alarms.settings import varied
from manual import registry
from manual.examples import Example
from manual.layer import Layer

WIDTH = 64  # at most


def width(rng: np.random.Generator, most: int = WIDTH) -> int:
    """Return a number of units; small ones as often as large ones."""
    return int(most ** rng.random() + 0.5)


def activation(rng: np.random.Generator, width: int) -> dict[str, Any]:
    """Return an activation with the arguments of one of its examples, or nearly these."""
    while True:
        table, after = _chosen(rng, list(registry.ACTIVATIONS), width)
        if after == width:
            return table


def _chosen(rng: np.random.Generator, names: list[str], width: int) -> tuple[dict[str, Any], int]:
    """Return a layer of one of these classes that takes rows of this width, and its own width."""
    while True:
        name = str(rng.choice(names))
        examples = registry.LAYERS[name].examples
        for number in rng.permutation(len(examples)):
            if (fitted := _fitted(rng, name, examples[int(number)], width)) is not None:
                return fitted


def placed(name: str, example: Example) -> tuple[tuple[int, ...], tuple[int, ...], int] | None:
    """Return what one row is shaped as before and after an example's layer, and its inputs' number.

    None where a network of real rows cannot hold it: it is tried in evaluation alone, it takes
    integers or inputs of several shapes, or its first output has not a row for every row that goes
    in, whatever their number, or is nothing but zeros.
    """
    cls = registry.LAYERS[name]
    case = made(cls, example, np.random.default_rng(0))
    given = [x for x in case.inputs if x is not None]
    alike = {x.shape for x in given if is_real(x) and x.ndim > 1}
    if not example.training or len(alike) != 1 or not all(map(is_real, given)):
        return None
    (shape,) = alike
    if {np.shape(x) for x in given} != alike or 0 in shape:
        return None
    found = [_first(case.layer, [np.ones((n, *shape[1:]))] * len(given)) for n in (2, 7)]
    y = case.forward()[0]
    y = y[0] if isinstance(y, tuple) else y
    if any(f is None or f[0] != n for f, n in zip(found, (2, 7), strict=True)) or not y.any():
        return None
    if len(given) > 1 and not _moves(case.layer, given[0], len(given)):
        return None
    if len(given) == 1 and _cuts(case.layer, given[0]):
        return None
    after = found[0][1:]  # type: ignore[index]
    return (shape[1:], after, len(given)) if after and after == found[1][1:] else None  # type: ignore[index]


def _moves(layer: Layer, x: np.ndarray, count: int) -> bool:
    """Return whether a layer whose inputs are all the same depends on them: a distance is 0."""
    y, cache = layer.forward(*[x] * count)
    if isinstance(y, tuple):
        return True
    grads = [g for g in layer.backward(np.ones_like(y), cache)[0] if g is not None]
    return bool(np.any(sum(grads)))


def _cuts(layer: Layer, x: np.ndarray) -> bool:
    """Return whether no gradient passes: nothing before such a layer could be compared."""
    y, cache = layer.forward(x)
    return not isinstance(y, tuple) and layer.backward(np.ones_like(y), cache)[0][0] is None


def _first(layer: Layer, inputs: list[np.ndarray]) -> tuple[int, ...] | None:
    """Return the shape of a layer's first output; None if it does not take these inputs."""
    try:
        y = layer.forward(*inputs)[0]
    except (ValueError, IndexError, TypeError):
        return None
    return np.shape(y[0] if isinstance(y, tuple) else y)


def _fitted(
    rng: np.random.Generator, name: str, example: Example, width: int
) -> tuple[dict[str, Any], int] | None:
    """Return an example's layer for rows of another width, and how wide its own are.

    Sizes among the arguments are those that equal the example's own widths. A layer that takes no
    rows, or is made for rows of one number, is none.
    """
    place = placed(name, example)
    if place is None or place[2] != 1 or len(place[0]) != 1 or len(place[1]) != 1:
        return None
    (before,), (after,), _ = place
    if 1 in (before, after):
        return None  # arguments that are 1 need not be sizes
    wider = width if before == after else _size(rng)
    sizes = {before: width, after: wider}
    arguments = {
        key: sizes.get(value, value) if type(value) is int and value > 1 else value
        for key, value in example.arguments.items()
    }
    cls = registry.LAYERS[name]
    try:
        found = _first(cls(**arguments), [np.ones((2, width))])
    except ValueError:  # sizes that do not go together
        return None
    if found is None or len(found) != 2:
        return None
    return {"type": name, **varied(rng, cls, arguments)}, found[1]


def _size(rng: np.random.Generator) -> int:
    return width(rng)


class Layers:
    """A network under construction: its tables, the last layer's name and number of units."""

    def __init__(self, rng: np.random.Generator, inputs: int) -> None:
        self.rng, self.width, self.last = rng, inputs, "input"
        self.tables: list[dict[str, Any]] = []

    def add(self, table: dict[str, Any], *sources: str) -> str:
        """Append a layer that is fed by `sources` (the last layer without any)."""
        name = f"n{len(self.tables)}"
        self.tables.append({**table, "name": name, "inputs": list(sources or (self.last,))})
        self.last = name
        return name

    def linear(self, units: int, source: str | None = None) -> str:
        """Append an affine map, rarely without a bias."""
        table = {"type": "Linear", "in_features": self.width, "out_features": units}
        if self.rng.random() < 0.15:
            table["bias"] = False
        name = self.add(table, source or self.last)
        self.width = units
        return name

    def block(self) -> None:
        """Append one block of a random kind."""
        kinds: Sequence[Callable[[], None]] = (
            self._dense, self._residual, self._concatenate, self._gate, self._activation, self._any,
        )  # fmt: skip
        odds = [0.5, 0.14, 0.1, 0.06, 0.04, 0.16]
        kinds[int(self.rng.choice(len(kinds), p=odds))]()

    def _dense(self) -> None:
        self.linear(width(self.rng))
        self._activation()

    def _activation(self) -> None:
        self.add(activation(self.rng, self.width))

    def _residual(self) -> None:
        start, units = self.last, self.width
        if self.rng.random() < 0.5:
            self._dense()
        else:
            self._activation()
        self.add({"type": "Add"}, start, self.linear(units))

    def _concatenate(self) -> None:
        start, units = self.last, self.width
        ends, total = [], 0
        for _ in range(int(self.rng.integers(2, 4))):
            self.width = units
            self.linear(width(self.rng, most=WIDTH // 3), start)
            self._activation()
            ends.append(self.last)
            total += self.width
        if self.rng.random() < 0.3:
            ends.append(start)
            total += units
        self.add({"type": "Concatenate", "dim": 1}, *ends)
        self.width = total

    def _gate(self) -> None:
        start, units, out = self.last, self.width, width(self.rng)
        self.linear(out, start)
        self._activation()
        value, self.width = self.last, units
        self.linear(out, start)
        self.add({"type": "Sigmoid"})
        self.add({"type": "Multiply"}, value, self.last)

    def _any(self) -> None:
        """Append any layer: one that takes rows as they are, others as their examples have it."""
        while True:
            name = str(self.rng.choice(list(registry.LAYERS)))
            examples = registry.LAYERS[name].examples
            for number in self.rng.permutation(len(examples)):
                example = examples[int(number)]
                fitted = _fitted(self.rng, name, example, self.width)
                if fitted is not None:
                    table, self.width = fitted
                    self.add(table)
                    return
                if (place := placed(name, example)) is not None:
                    self._reshaped(name, example, *place)
                    return

    def _reshaped(
        self, name: str, example: Example, before: tuple[int, ...], after: tuple[int, ...], n: int
    ) -> None:
        """Append an example's layer between a linear one and Flatten, which give it its shapes."""
        self.linear(prod(before))
        if len(before) > 1:
            self.add({"type": "Unflatten", "dim": 1, "unflattened_size": list(before)})
        cls = registry.LAYERS[name]
        table = varied(self.rng, cls, example.arguments)
        if _first(cls(**table), [np.ones((2, *before))] * n) != (2, *after):  # a scale factor, say
            table = dict(example.arguments)
        self.add({"type": name, **table}, *[self.last] * n)
        if len(after) > 1:
            self.add({"type": "Flatten"})
        self.width = prod(after)
