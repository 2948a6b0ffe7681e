"""Error-gauge arrays at a torch node: how far rounding may take what torch computes there.

The hand-written layer that the node stands for is run on the gauge arrays. What it finds is taken
if its values are torch's, within the very error that it finds. If they are not (the layer is wrong,
or not written yet), torch is run in float64 on nudged inputs and the error is read off its
response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from compare.gauge import Gauge, K, Unit, gauge
from manual.graph import Array, Arrays, Layer

PROBES = 8
NUDGE = 2.0**-30  # in each probe an input moves by ± NUDGE · its error
OWN = 4.0  # roundings of torch's own per element, taken as nudges of its inputs and output
ALIKE = 1e-10  # of the largest element: the hand-written value is torch's, in a sketch
Grads = tuple[tuple[Array, ...], Arrays]


class Torch(Protocol):
    """What is asked of a torch node."""

    twin: Layer
    params: Arrays
    stochastic: ClassVar[bool]

    def run(self, inputs: Sequence[Array], params: Arrays) -> tuple[Array, Any]: ...
    def autograd(self, cache: Any, grad_output: Array) -> Grads: ...


class GaugeCache(NamedTuple):
    """One forward pass on gauge arrays; `by_hand` is None where the hand-written one failed."""

    inputs: tuple[Gauge, ...]
    noise: tuple  # of a random layer: its mask
    by_hand: Any


def gauged_forward(node: Torch, inputs: tuple) -> tuple[Gauge, GaugeCache]:
    """Return the node's output with its error, and the cache for `gauged_backward`."""
    data, noise = (inputs[:-1], inputs[-1:]) if node.stochastic else (inputs, ())
    found = _attempt(lambda: node.twin.forward(*data, *noise))
    points = tuple(_lifted(a) for a in (*data, *node.params.values()))
    probe = _Probe(node, len(data), noise)
    (output,) = probe.output([p.v for p in points])
    cache = GaugeCache(points, noise, None if found is None else found[1])
    if found is not None and _same(found[0], output):
        return found[0], cache
    return measured(probe.output, points)[0], cache


def gauged_backward(node: Torch, grad_output: Any, cache: GaugeCache) -> Grads:
    """Return the gradients with their errors, each the hand-written one where that is torch's."""
    keys = list(node.params)
    count = len(cache.inputs) - len(keys)
    probe = _Probe(node, count, cache.noise)
    points = (*cache.inputs, _lifted(grad_output))
    theirs = probe.gradients([p.v for p in points])
    ours = _attempt(lambda: _in_order(node.twin.backward(grad_output, cache.by_hand), keys, count))
    right = [ours is not None and _same(ours[i], g) for i, g in enumerate(theirs)]
    found = ours if all(right) else measured(probe.gradients, points)
    grads = [ours[i] if ok and ours else found[i] for i, ok in enumerate(right)]
    return tuple(grads[:count]), dict(zip(keys, grads[count:], strict=True))


class _Probe(NamedTuple):
    """The node as functions of a list of arrays: its inputs, its parameters, its upstream."""

    node: Torch
    inputs: int
    noise: tuple

    def output(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._run(arrays)[0]]

    def gradients(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        *arrays, upstream = arrays
        inputs, params = self.node.autograd(self._run(arrays)[1], upstream)
        return [*inputs, *params.values()]

    def _run(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, Any]:
        inputs, params = arrays[: self.inputs], arrays[self.inputs :]
        named = dict(zip(self.node.params, params, strict=True))
        return self.node.run((*inputs, *self.noise), named)


def measured(function: Callable, points: Sequence[Gauge]) -> list[Gauge]:
    """Return a function's values with the errors that those of its arguments, and its own, cause.

    All arguments are nudged at once, in random directions, so that errors combine as independent
    ones do: the mean square of the responses is the sum of their squares. A sketch follows one set
    of signed errors instead, so one response is enough.
    """
    sketch = getattr(Unit, "sketch", None)
    rng = np.random.default_rng(sketch or 0)
    values = function([p.v for p in points])

    def own(v: np.ndarray) -> np.ndarray:
        return OWN * v * rng.choice((-1.0, 1.0), np.shape(v))

    def responses(errors: Sequence[Any]) -> list[np.ndarray]:
        pairs = zip(points, errors, strict=True)
        moved = function([(p.v + NUDGE * error).astype(np.float64) for p, error in pairs])
        return [(there - here) / NUDGE for there, here in zip(moved, values, strict=True)]

    if sketch is not None:
        answers = responses([p.e2 + own(p.v) for p in points])
        return [Gauge(v, r + own(v)) for v, r in zip(values, answers, strict=True)]
    squares: list[Any] = [np.square(OWN * v) for v in values]
    sizes = [np.sqrt(p.e2 + np.square(OWN * p.v)) for p in points]
    for _ in range(PROBES):
        for i, r in enumerate(responses([s * rng.choice((-1.0, 1.0), s.shape) for s in sizes])):
            squares[i] = squares[i] + np.square(r) / PROBES
    return [Gauge(v, e2) for v, e2 in zip(values, squares, strict=True)]


def _in_order(grads: Grads, keys: list[str], count: int) -> list[Any]:
    inputs, params = grads
    if len(inputs) != count:
        raise ValueError("one gradient per input")
    return [*inputs, *(params[key] for key in keys)]


def _same(ours: Any, theirs: np.ndarray) -> bool:
    """Return whether the hand-written value is torch's within the error that it carries."""
    if not isinstance(ours, Gauge) or ours.shape != theirs.shape:
        return False
    if getattr(Unit, "sketch", None) is None:
        allowed: Any = ours.tolerance(np.dtype(np.float64), K)
    else:  # a sketch's errors have signs and cancel: no bound of an element
        allowed = ALIKE * np.abs(theirs).max(initial=0.0)
    return bool((np.abs(ours.v - theirs) <= allowed).all())


def _attempt(run: Callable) -> Any:
    """Return None where the hand-written code raises: it is not what is judged here."""
    try:
        return run()
    except Exception:
        return None


def _lifted(a: Any) -> Gauge:
    return a if isinstance(a, Gauge) else gauge(a)
