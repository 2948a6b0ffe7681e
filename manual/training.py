"""Training steps of a graph that ends in its loss, with as little as possible around the formulas.

The graph's passes are compiled (`manual.compiled`). The parameters of a small network lie end to
end in one buffer that its layers see through views: the optimiser then works once on all of them,
not once on each.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise

import numpy as np

from manual.clipping import clip_grad_norm, clip_grad_value
from manual.compiled import Compiled
from manual.graph import Graph
from manual.layer import Array, Arrays, Noise
from manual.optimizers.base import Optimizer, State, States

__all__ = ["Training"]

SMALL = 1 << 14  # parameters: beyond, copying them costs more than calls do


class Training:
    """A graph, its optimiser, and where training has come to.

    Args:
        graph: its one output is the loss.
        optimizer: moves every parameter after each pass.
        clip_norm, clip_value: bounds of the gradients' joint norm and of each element.
    """

    def __init__(
        self, graph: Graph, optimizer: Optimizer, *,
        clip_norm: float | None = None, clip_value: float | None = None,
    ) -> None:  # fmt: skip
        self.optimizer, self.clip_norm, self.clip_value = optimizer, clip_norm, clip_value
        self.buffers = graph.buffers
        self._states: States = {}
        self._flat = _end_to_end(graph.params) if optimizer.elementwise else None
        self._state: State = {}  # of the flat buffer
        if self._flat is not None:
            self._parts = _parts(graph.params)
            graph = graph.with_params(self._cut(self._flat))
            self._kinds = [(p.shape, p.dtype) for p in graph.params.values()]
        self._passes = Compiled(graph)

    @property
    def params(self) -> Arrays:
        """The parameters now, as arrays of their own."""
        return {name: p.copy() for name, p in self._passes.graph.params.items()}

    @property
    def states(self) -> States:
        """The optimiser's state now, by parameter."""
        if self._flat is None:
            return self._states
        cut = {key: self._cut(v.copy()) if np.ndim(v) else v for key, v in self._state.items()}
        return {
            name: {key: v[name] if isinstance(v, dict) else v for key, v in cut.items()}
            for name in self._passes.graph.params
        }

    def step(
        self,
        *inputs: Array,
        lr: float | None = None,
        noise: Mapping[str, Noise] | np.random.Generator | None = None,
    ) -> Array:
        """Run both passes on these inputs, in the graph's order, and update; return the loss."""
        loss, grads, self.buffers = self._passes.run(inputs, None, noise, self.buffers)
        rate = self.optimizer.lr if lr is None else float(lr)
        if self.clip_norm is not None or self.clip_value is not None:
            grads = self._clipped(grads)
        if self._flat is not None and not self._fit(grads):
            self._states, self._flat = self.states, None
        if self._flat is None:
            self._update_each(grads, rate)
            return loss
        grad = np.concatenate(grads, axis=None)
        new, self._state = self.optimizer.updated(self._flat, grad, self._state, rate)
        self._flat[:] = new
        return loss

    def _fit(self, grads: tuple) -> bool:
        """Return whether there is a gradient for every parameter, in its shape and dtype."""
        kinds = [(g.shape, g.dtype) for g in grads if g is not None]
        return kinds == self._kinds

    def _update_each(self, grads: tuple, rate: float) -> None:
        passes = self._passes
        new, self._states = self.optimizer.step(
            passes.graph.params, _named(passes.names, grads), self._states, rate
        )
        passes.bind(new)

    def _clipped(self, grads: tuple) -> tuple:
        named = _named(self._passes.names, grads)
        if self.clip_norm is not None:
            named, _ = clip_grad_norm(named, self.clip_norm)
        if self.clip_value is not None:
            named = clip_grad_value(named, self.clip_value)
        return tuple(named.get(name) for name in self._passes.names)

    def _cut(self, flat: Array) -> Arrays:
        """Return every parameter's view of a buffer."""
        return {name: flat[i:j].reshape(shape) for name, i, j, shape in self._parts}


def _named(names: tuple[str, ...], grads: tuple) -> Arrays:
    return {name: g for name, g in zip(names, grads, strict=True) if g is not None}


def _end_to_end(params: Arrays) -> Array | None:
    """Return all parameters in one buffer, if they are few, plain and of one dtype."""
    arrays = list(params.values())
    plain = all(type(p) is np.ndarray and p.dtype == arrays[0].dtype for p in arrays)
    if not arrays or not plain or sum(p.size for p in arrays) > SMALL:
        return None
    return np.concatenate([p.reshape(-1) for p in arrays])


def _parts(params: Arrays) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Return each parameter's name, its place in the buffer, and its shape."""
    ends = list(accumulate((p.size for p in params.values()), initial=0))
    return [
        (name, i, j, p.shape)
        for (name, p), (i, j) in zip(params.items(), pairwise(ends), strict=True)
    ]
