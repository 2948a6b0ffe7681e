"""A layer around another one: what it does not change is the inner layer's own."""

from __future__ import annotations

from typing import Any, Self

from manual.graph import Array, Arrays
from manual.layer import Layer


class Wrapped(Layer):
    """A layer that stands in another one's place; subclasses change what they are for.

    Args:
        layer: the one inside.
    """

    def __init__(self, layer: Layer) -> None:
        self._around(layer)

    def _around(self, layer: Layer) -> None:
        self.layer = layer
        self.params, self.buffers, self.training = layer.params, layer.buffers, layer.training
        self.stochastic, self.outputs, self.rewrites = (
            layer.stochastic, layer.outputs, layer.rewrites
        )  # fmt: skip

    def _with(self, layer: Layer) -> Self:
        """Return a copy around another layer."""
        twin = self._twin()
        twin._around(layer)
        return twin

    def forward(self, *inputs: Any, **noise: Any) -> tuple[Any, Any]:
        return self.layer.forward(*inputs, **noise)

    def backward(self, grad_output: Any, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        return self.layer.backward(grad_output, cache)

    def grad_params(self, grad_output: Any, cache: Any) -> Arrays:
        return self.layer.grad_params(grad_output, cache)

    def next_buffers(self, cache: Any) -> Arrays:
        return self.layer.next_buffers(cache)

    def rewritten(self, cache: Any) -> Arrays:
        return self.layer.rewritten(cache)

    def decisions(self, cache: Any) -> Array | None:
        return self.layer.decisions(cache)

    def settled(self, decisions: Array | None) -> Self:
        """Return it around the same layer with decisions taken (Maxout)."""
        return self._with(self.layer.settled(decisions))  # type: ignore[attr-defined]

    def with_params(self, params: Arrays) -> Self:
        return self._with(self.layer.with_params(params))

    def with_buffers(self, buffers: Arrays) -> Self:
        return self._with(self.layer.with_buffers(buffers))

    def train(self, mode: bool = True) -> Self:
        return self._with(self.layer.train(mode))

    def __repr__(self) -> str:
        return repr(self.layer)
