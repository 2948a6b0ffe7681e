"""Layers as functions: their parameters come as inputs; several of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from manual.layer import Array, Arrays, Layer, Noise, Output

__all__: list[str] = []  # it is tried as the layer that it holds


class FunctionalCache(NamedTuple):
    layer: Layer  # with the parameters that were given
    own: Any  # what its forward left
    shapes: tuple[tuple[int, ...], ...]  # of what was given


class Functional(Layer):
    """A layer whose parameters and buffers are inputs, after its own inputs.

    Args:
        layer: what is computed.
        names: of its parameters and buffers that are given, in the order of the inputs.
        count: how many inputs of its own it is given.
        constants: further arguments of its forward, by name.
    """

    def __init__(
        self,
        layer: Layer,
        names: Sequence[str] = (),
        count: int = 1,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self.layer, self.names, self.count = layer, tuple(names), count
        self.constants = constants or {}
        self.outputs, self.structure = layer.outputs, layer.structure
        self.stochastic, self.training = layer.stochastic, layer.training
        self.chances = layer.chances

    def _held(self, given: Sequence[Array]) -> Layer:
        """Return the layer with what was given."""
        named = dict(zip(self.names, given, strict=True))
        params = {k: _shaped(named.get(k), p) for k, p in self.layer.params.items()}
        buffers = {k: named.get(k, b) for k, b in self.layer.buffers.items()}
        return self.layer.with_params(params).with_buffers(buffers)

    def forward(self, *inputs: Array, **noise: Any) -> tuple[Output, FunctionalCache]:
        layer = self._held(inputs[self.count :])
        y, own = layer.forward(*inputs[: self.count], **self.constants, **noise)
        shapes = tuple(tuple(x.shape) for x in inputs[self.count :])
        return y, FunctionalCache(layer, own, shapes)

    def backward(
        self, grad_output: Output, cache: FunctionalCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        """Return the layer's gradients: what it calls grad_params are those of inputs here.

        Torch: the function in torch.nn.functional that the layer calls.
        """
        grads, params = cache.layer.backward(grad_output, cache.own)
        given = (params.get(name) for name in self.names)
        return (*grads[: self.count], *map(_of_shape, given, cache.shapes)), {}

    def draw(self, *inputs: Array, rng: np.random.Generator) -> Noise:
        return self._held(inputs[self.count :]).draw(*inputs[: self.count], rng=rng)

    def decisions(self, cache: FunctionalCache) -> Array | None:
        return cache.layer.decisions(cache.own)

    def variants(self, cache: FunctionalCache) -> tuple[str, ...]:
        return cache.layer.variants(cache.own)

    def __repr__(self) -> str:
        return repr(self.layer)


class Tracking(Functional):
    """A normalisation that returns the running statistics that it leaves, beside its output."""

    STATISTICS = ("running_mean", "running_var")

    def __init__(self, layer: Layer, names: Sequence[str] = (), count: int = 1) -> None:
        super().__init__(layer, names, count)
        self.outputs = (*layer.outputs, *self.STATISTICS)

    def forward(self, *inputs: Array, **noise: Any) -> tuple[Output, FunctionalCache]:
        y, cache = super().forward(*inputs, **noise)
        left = cache.layer.next_buffers(cache.own)
        return (y, *(left[name] for name in self.STATISTICS)), cache

    def backward(
        self, grad_output: Output, cache: FunctionalCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        """Return the layer's gradients: none flows through the statistics.

        Torch: the function writes the statistics into the tensors that it is given.
        """
        return super().backward(grad_output[0], cache)


def _shaped(given: Array | None, own: Array) -> Array:
    """Return what was given in the layer's own shape."""
    return own if given is None else given.reshape(own.shape)


def _of_shape(grad: Array | None, shape: tuple[int, ...]) -> Array | None:
    return grad if grad is None or tuple(grad.shape) == shape else grad.reshape(shape)


class Chain(Layer):
    """Several layers, one after another; the first takes the inputs."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers
        self.outputs = layers[-1].outputs

    def forward(self, *inputs: Array) -> tuple[Output, tuple[Any, ...]]:
        y, cache = self.layers[0].forward(*inputs)
        caches = [cache]
        for layer in self.layers[1:]:
            y, cache = layer.forward(y)
            caches.append(cache)
        return y, tuple(caches)

    def backward(
        self, grad_output: Output, cache: tuple[Any, ...]
    ) -> tuple[tuple[Array, ...], Arrays]:
        """Return the gradients of the first layer: each layer's go to the one before.

        Torch: one function, which the layers are together.
        """
        for layer, own in zip(self.layers[:0:-1], cache[:0:-1], strict=True):
            (grad_output,) = layer.backward(grad_output, own)[0]
        return self.layers[0].backward(grad_output, cache[0])

    def __repr__(self) -> str:
        return ", then ".join(map(repr, self.layers))


class Beside(Layer):
    """A layer of one output, and arrays beside it through which no gradient flows."""

    def __init__(self, layer: Layer, **arrays: Array) -> None:
        self.layer, self.arrays = layer, arrays
        self.outputs = (*layer.outputs, *arrays)

    def forward(self, *inputs: Array) -> tuple[Output, Any]:
        y, cache = self.layer.forward(*inputs)
        return (y, *self.arrays.values()), cache

    def backward(self, grad_output: Output, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        """Return the layer's gradients. Torch: a function that returns more than its result."""
        return self.layer.backward(grad_output[0], cache)

    def __repr__(self) -> str:
        return repr(self.layer)
