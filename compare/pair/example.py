"""An example of a class made real: the layer with parameters, its inputs and noise, in one dtype.

Everything that tries every class (certificates, mutants, tests, documents) makes its cases here.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual.examples import Example
from manual.layer import Arrays, Layer


@dataclass(frozen=True)
class Made:
    """One example of a layer, ready to be run.

    Attributes:
        layer: with its parameters set, in the mode of the example.
        inputs: arguments of forward.
        noise: what a random layer has drawn; None if it draws nothing.
        fixed: names of inputs that have no gradient.
    """

    layer: Layer
    inputs: tuple[Any, ...]
    noise: Any = None
    fixed: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What forward calls its inputs; `input 0`, `input 1` … if it takes any number."""
        return argument_names(self.layer, len(self.inputs))

    def forward(self, *inputs: Any) -> tuple[Any, Any]:
        """Run the layer on its own inputs, or on others, with the example's noise."""
        noise = {"noise": self.noise} if self.layer.stochastic else {}
        return self.layer.forward(*(inputs or self.inputs), **noise)

    def with_values(self, values: Mapping[str, Any]) -> Made:
        """Return this with other inputs or parameters, given by name."""
        inputs = tuple(values.get(k, x) for k, x in zip(self.names, self.inputs, strict=True))
        params = {k: values.get(k, p) for k, p in self.layer.params.items()}
        return replace(self, layer=self.layer.with_params(params), inputs=inputs)

    @property
    def values(self) -> Arrays:
        """Everything that has a gradient, by name: float inputs, then parameters."""
        _, cache = self.forward()
        grads, _ = self.layer.backward(self.upstream(np.random.default_rng(0)), cache)
        found = {
            name: x
            for name, x, grad in zip(self.names, self.inputs, grads, strict=False)
            if grad is not None and is_real(x) and name not in self.fixed
        }
        return found | self.layer.params

    def gradients(self, dy: Any, cache: Any) -> Arrays:
        """Return what backward makes of an upstream gradient, by the names of `values`."""
        grads, own = self.layer.backward(dy, cache)
        return {
            name: grad
            for name, grad in zip(self.names, grads, strict=False)
            if grad is not None and name not in self.fixed
        } | own

    def upstream(self, rng: np.random.Generator) -> Any:
        """Return a random gradient for every output, in the output's dtype."""
        y = self.forward()[0]
        if isinstance(y, tuple):
            return tuple(_like(part, rng) for part in y)
        return _like(y, rng)


def _like(y: Any, rng: np.random.Generator) -> Any:
    y = np.asarray(y)
    return rng.standard_normal(y.shape).astype(y.dtype) if is_real(y) else None


def is_real(x: Any) -> bool:
    """Whether an array holds real numbers, so that it may have a gradient."""
    return x is not None and np.asarray(x).dtype.kind in "fO"


def argument_names(layer: Layer, count: int) -> list[str]:
    parameters = inspect.signature(layer.forward).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [f"input {i}" for i in range(count)]
    return [p.name for p in parameters][:count]


def made(
    cls: type[Layer], example: Example, rng: np.random.Generator, dtype: Any = np.float64
) -> Made:
    """Build the layer with random parameters, and draw its inputs and noise.

    Numbers are exact in float32, so that every dtype holds the same ones.
    """
    inputs = tuple(_as(x, dtype) for x in example.draw(rng))
    layer = cls(**example.arguments)
    if not example.training:
        layer = layer.train(False)
    layer = layer.with_params(
        {k: _as(rng.standard_normal(p.shape), dtype) for k, p in layer.params.items()}
    )
    layer = layer.with_buffers({k: _as(np.asarray(b), dtype) for k, b in layer.buffers.items()})
    draws = layer.stochastic and example.noise
    noise = layer.draw(*inputs, rng=rng) if draws else None
    return Made(layer, inputs, noise, example.fixed)


def _as(x: Any, dtype: Any) -> Any:
    if not is_real(x):
        return x
    return np.asarray(x).astype(np.float32).astype(dtype)


def at_kinks(case: Made, example: Example) -> Iterator[tuple[str, Made]]:
    """Yield the example at each point where a derivative may break, by the point's label."""
    values = dict(zip(case.names, case.inputs, strict=True)) | case.layer.params
    for label, given in example.kinks.items():
        changed = {
            name: np.broadcast_to(np.asarray(value, values[name].dtype), values[name].shape).copy()
            for name, value in given.items()
            if name in values
        }
        yield label, case.with_values(changed)


def shown(name: str, settings: Mapping[str, Any]) -> str:
    """Return a constructor's call as it is written."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in settings.items())})"


def distinct(names: Iterable[str]) -> list[str]:
    """Number what is called the same.

    >>> distinct(["a", "b", "a"])
    ['a', 'b', 'a #2']
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return found
