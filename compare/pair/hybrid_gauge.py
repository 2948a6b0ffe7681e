"""Error-gauge arrays at a torch node: how far rounding may take what torch computes there.

The hand-written layer that the node stands for is run on the gauge arrays. What it finds is taken
if its values are torch's, and within bounds that are not its own: another way of computing the
same may lose digits that torch does not lose. If its values are not torch's (the layer is wrong, or
not written yet), torch is run in float64 on nudged inputs and the error is read off its response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from compare.gauge import Gauge, K, gauge, setting
from manual.graph import Array, Arrays, Layer

PROBES = 8
NUDGE = 2.0**-30  # in each probe an input moves by about NUDGE · its error
FINER = 2.0**10  # a second, finer nudge tells a jump from a slope
FAR = 2.0**8  # errors of so many times the largest number are nudged by less
OWN = 4.0  # roundings of torch's own per element, taken as nudges of its inputs and output
SLACK = 16.0  # a hand-written error is at most so many times the measured one
CEILING = 1e4  # a measured error, of the largest number or error around
ALIKE = 1e-10  # of the largest element: the hand-written value is torch's, in a sketch
Grads = tuple[tuple[Array, ...], Arrays]


class Torch(Protocol):
    """What is asked of a torch node."""

    twin: Layer
    params: Arrays
    stochastic: bool

    def run(
        self, inputs: Sequence[Array], params: Arrays, noise: Array | None
    ) -> tuple[Array, Any]: ...
    def autograd(self, cache: Any, grad_output: Array) -> Grads: ...


class GaugeCache(NamedTuple):
    """One forward pass on gauge arrays; `by_hand` is None where the hand-written one failed."""

    inputs: tuple[Gauge, ...]
    noise: Array | None  # of a random layer: its mask
    by_hand: Any


def gauged_forward(node: Torch, inputs: tuple, noise: Array | None) -> tuple[Gauge, GaugeCache]:
    """Return the node's output with its error, and the cache for `gauged_backward`."""
    options = {"noise": noise} if node.stochastic else {}
    found = _attempt(lambda: node.twin.forward(*inputs, **options))
    points = tuple(_lifted(a) for a in (*inputs, *node.params.values()))
    probe = _Probe(node, len(inputs), noise)
    theirs = probe.output([p.v for p in points])
    ours, by_hand = ([None], None) if found is None else ([found[0]], found[1])
    scale = _largest(*(p.v for p in points))
    (output,) = _bounded(ours, theirs, scale, lambda: measured(probe.output, points))
    return output, GaugeCache(points, noise, by_hand)


def gauged_backward(node: Torch, grad_output: Any, cache: GaugeCache) -> Grads:
    """Return the gradients with their errors, each the hand-written one where that is torch's."""
    keys = list(node.params)
    count = len(cache.inputs) - len(keys)
    probe = _Probe(node, count, cache.noise)
    points = (*cache.inputs, _lifted(grad_output))
    theirs = probe.gradients([p.v for p in points])
    ours = _attempt(lambda: _in_order(node.twin.backward(grad_output, cache.by_hand), keys, count))
    scale = _largest(points[-1].v) * max(1.0, _largest(*(p.v for p in cache.inputs)))
    grads = _bounded(
        ours or [None] * len(theirs), theirs, scale, lambda: measured(probe.gradients, points)
    )
    return tuple(grads[:count]), dict(zip(keys, grads[count:], strict=True))


def _bounded(
    ours: Sequence[Any], theirs: Sequence[np.ndarray], scale: float, measure: Callable
) -> list[Gauge]:
    """Return the hand-written errors as far as they can be believed, else the measured ones.

    Where a hand-written error is at most SLACK roundings of the numbers around, nothing need be
    measured.

    Args:
        ours: what the hand-written layer returned; None where it raised.
        theirs: torch's values.
        scale: the largest number that goes in; an intermediate result may be as large.
        measure: measures the errors.
    """
    scales = [max(scale, _largest(value)) for value in theirs]
    bounds = [_capped(*pair) for pair in zip(ours, theirs, scales, strict=True)]
    if all(a is b and a is not None for a, b in zip(ours, bounds, strict=True)):
        return bounds  # type: ignore[return-value]
    found = measure()
    again = [_capped(*known) for known in zip(ours, theirs, scales, found, strict=True)]
    return [m if bound is None else bound for m, bound in zip(found, again, strict=True)]


def _capped(ours: Any, theirs: np.ndarray, scale: float, found: Gauge | None = None) -> Any:
    """Return the hand-written gauge, with no more error than allowed; None if it is not torch's."""
    if not isinstance(ours, Gauge) or ours.shape != theirs.shape:
        return None
    least = setting().squares(SLACK * scale) ** 2 + CEILING**2 * setting().flush_squared
    sketch = setting().sketch is not None
    if found is None:
        cap: Any = least
    else:
        square = np.square(found.e2) if sketch else found.e2
        cap = np.where(np.isfinite(square), np.fmax(SLACK**2 * square, least), np.inf)
    if sketch:
        cap = np.sqrt(cap)
        capped = Gauge(ours.v, np.fmin(np.fmax(ours.e2, -cap), cap))
    else:
        capped = Gauge(ours.v, np.fmin(ours.e2, cap))
    if not _same(capped, theirs):
        return None
    return ours if np.array_equal(capped.e2, ours.e2) else capped


class _Probe(NamedTuple):
    """The node as functions of a list of arrays: its inputs, its parameters, its upstream."""

    node: Torch
    inputs: int
    noise: Array | None

    def output(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._run(arrays)[0]]

    def gradients(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        *arrays, upstream = arrays
        inputs, params = self.node.autograd(self._run(arrays)[1], upstream)
        return [*inputs, *params.values()]

    def _run(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, Any]:
        inputs, params = arrays[: self.inputs], arrays[self.inputs :]
        named = dict(zip(self.node.params, params, strict=True))
        return self.node.run(inputs, named, self.noise)


def measured(function: Callable, points: Sequence[Gauge]) -> list[Gauge]:
    """Return a function's values with the errors that those of its arguments, and its own, cause.

    All arguments are nudged at once, in random directions, so that errors combine as independent
    ones do: the mean square of the responses is the sum of their squares. A sketch follows one set
    of signed errors instead, so one response is enough.
    """
    sketch = setting().sketch
    rng = np.random.default_rng(sketch or 0)
    values = function([p.v for p in points])
    if sketch is not None:
        errors = [p.e2 + OWN * _finite(p.v) * _directions(rng, p.shape) for p in points]
        answers = _responses(function, values, points, errors)
        own = [OWN * _finite(v) * _directions(rng, np.shape(v)) for v in values]
        pairs = [(v, r + o) for v, r, o in zip(values, answers, own, strict=True)]
        most = _most(values, points, errors)
        return [Gauge(v, np.clip(error, -most, most)) for v, error in pairs]
    squares: list[Any] = [_square(OWN * _finite(v)) for v in values]
    sizes = [np.sqrt(p.e2 + _square(OWN * _finite(p.v))) for p in points]
    for _ in range(PROBES):
        nudges = [size * _directions(rng, size.shape) for size in sizes]
        for i, r in enumerate(_responses(function, values, points, nudges)):
            squares[i] = squares[i] + _square(r) / PROBES
    most = _square(_most(values, points, sizes))
    return [Gauge(v, np.minimum(e2, most)) for v, e2 in zip(values, squares, strict=True)]


def _responses(
    function: Callable, values: Sequence[Any], points: Sequence[Gauge], errors: Sequence[Any]
) -> list[np.ndarray]:
    """Return the function's derivative in the direction of the errors, jumps left out.

    Across a kink a value jumps by J however small the nudge h, and J/h says nothing of rounding:
    decisions are settled elsewhere. The coarse response is s + J/h, the fine one s + J·FINER/h;
    or s, where only the coarse nudge crosses the kink.
    """
    far = _largest(*errors) / (FAR * _largest(*(p.v for p in points)) or np.inf)
    nudge = NUDGE / max(1.0, far)

    def answers(step: float) -> list[np.ndarray]:
        pairs = zip(points, errors, strict=True)
        moved = function([(p.v + step * error).astype(np.float64) for p, error in pairs])
        return [
            np.where(there == here, 0.0, there - here) / step  # the same infinity has not moved
            for there, here in zip(moved, values, strict=True)
        ]

    smooth = []
    for coarse, fine in zip(answers(nudge), answers(nudge / FINER), strict=True):
        slope = coarse - (fine - coarse) / (FINER - 1)
        smooth.append(np.where(np.abs(slope) <= np.abs(fine), slope, fine))
    return smooth


def _directions(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return ± about 1, of mean square 1; of different sizes, so that no two ever cancel."""
    return rng.choice((-1.0, 1.0), shape) * rng.uniform(0.5, 1.427, shape)


def _most(values: Sequence[Any], points: Sequence[Gauge], errors: Sequence[Any]) -> float:
    return CEILING * _largest(*values, *(p.v for p in points), *errors)


def _finite(a: Any) -> Any:
    """Return numbers with 0 for infinities, which are masks and have no roundings."""
    return np.where(np.isinf(a), 0.0, a)


def _square(a: Any) -> Any:
    return np.square(np.asarray(a, dtype=setting().squares))


def _largest(*arrays: Any) -> float:
    """Return the largest finite magnitude."""
    found = (np.abs(a).max(initial=0.0, where=np.isfinite(a)) for a in map(np.asarray, arrays))
    return float(max(found, default=0.0))


def _in_order(grads: Grads, keys: list[str], count: int) -> list[Any]:
    inputs, params = grads
    if len(inputs) != count:
        raise ValueError("one gradient per input")
    return [*inputs, *(params[key] for key in keys)]


def _same(ours: Any, theirs: np.ndarray) -> bool:
    """Return whether the hand-written value is torch's within the error that it carries."""
    if not isinstance(ours, Gauge) or ours.shape != theirs.shape:
        return False
    if setting().sketch is None:
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
