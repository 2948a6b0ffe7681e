"""Gradients that an object keeps under names of its own, found by shape and by their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import Inputs, Specification, as_float, fresh, is_float
from compare.pair.numeric import along
from compare.pair.objects import LayerObject
from compare.pair.parameters import Place, gradient, walk

CLOSE, DIRECTIONS = 1e-6, 2


class Unnamed(NamedTuple):
    """Where the gradients of an object's arrays are, by array; and what else backward writes.

    `others` are of an array's shape and not its gradient: wrong ones, or something else.
    """

    gradients: dict[str, Place]
    others: dict[str, Place]


def unnamed(layer: Any, specification: Specification, own: Mapping[str, np.ndarray]) -> Unnamed:
    """Look for the gradients of an object's arrays in all that backward writes on it.

    A gradient is what forward's differences are along random directions.

    Args:
        layer: the object; it is left as it is.
        specification: the inputs, and the arrays whose gradients are known.
        own: the arrays that were given none.
    """
    wider = specification.with_values(own)
    candidate = LayerObject(layer, wider.names, wider.differentiable)
    rng = np.random.default_rng(0)
    values = fresh(wider.draw(rng))
    started = candidate.start(values)
    upstreams = [
        rng.standard_normal(np.shape(y)) if candidate.takes_upstream else np.ones(np.shape(y))
        for y in started.outputs
    ]
    before = {place: np.array(held) for place, held in _floats(started.state.layer)}
    returned = candidate.backward(upstreams, started)
    after = started.state.after
    known = [*_in(returned), *(gradient(after, name).value for name in specification.names)]
    written = {
        place: held
        for place, held in _floats(after)
        if not any(held is one for one in known)
        if place not in before or not np.array_equal(before[place], held)
    }
    alike = {
        name: {place: held for place, held in written.items() if np.shape(held) == value.shape}
        for name, value in own.items()
    }
    gradients = {
        name: place
        for name, arrays in alike.items()
        if arrays and (place := _gradient(candidate, values, name, upstreams, arrays, rng))
    }
    others = {
        name: place
        for name, arrays in alike.items()
        for place in reversed(arrays)
        if name not in gradients and place not in gradients.values()
    }
    return Unnamed(gradients, others)


def _gradient(
    candidate: LayerObject, values: Inputs, name: str, upstreams: list[np.ndarray],
    arrays: Mapping[Place, Any], rng: np.random.Generator,
) -> Place | None:  # fmt: skip
    """Return the place of the one array that is the gradient; None if none is, or several are."""
    directions = [rng.standard_normal(values[name].shape) for _ in range(DIRECTIONS)]

    def forward(at: Inputs) -> tuple[np.ndarray, ...]:
        return tuple(as_float(y) for y in candidate.start(fresh(at)).outputs)

    slopes = [along(forward, values, {name: d}, upstreams) for d in directions]
    fit = [
        place
        for place, held in arrays.items()
        if np.any(held)
        and all(
            abs(np.sum(held * d) - s.value) <= s.error + CLOSE * np.linalg.norm(held)
            for d, s in zip(directions, slopes, strict=True)
        )
    ]
    return fit[0] if len(fit) == 1 else None


def _in(returned: Any) -> list[Any]:
    """Return what a nest holds."""
    if isinstance(returned, Mapping):
        returned = tuple(returned.values())
    if not isinstance(returned, tuple | list):
        return [returned]
    return [one for part in returned for one in _in(part)]


def _floats(layer: Any) -> Iterator[tuple[Place, np.ndarray]]:
    return ((place, held) for place, held in walk(layer) if is_float(held))
