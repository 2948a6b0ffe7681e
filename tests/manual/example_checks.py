"""Checks of a layer by its own examples: its equations, other number systems, certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compare.explaining.evaluate import Env, bind, definition, head
from compare.explaining.language import parse
from compare.gauge import gauge, gauging
from compare.witness.certify import certify
from manual.examples import Example
from manual.layer import Layer
from tests.helpers import F32, F64, assert_close, draw, set_params


def built(cls: type[Layer], example: Example, dtype: np.dtype = F64) -> Layer:
    """Return the example's layer with random parameters."""
    return set_params(cls(**example.arguments), 3, dtype)


def inputs_of(example: Example, dtype: np.dtype = F64, seed: int = 5) -> list[np.ndarray]:
    return [x.astype(dtype) for x in example.draw(np.random.default_rng(seed)) if x is not None]


def first(output: Any) -> Any:
    """Return the output alone, of a layer that may return indices besides."""
    return output[0] if isinstance(output, tuple) else output


def upstream(output: Any, dy: Any) -> Any:
    """Return dy built as the layer's output is."""
    return (dy, *(None for _ in output[1:])) if isinstance(output, tuple) else dy


def run(layer: Layer, inputs: list, dy: Any) -> dict[str, Any]:
    """Return the output and every gradient by name."""
    y, cache = layer.forward(*inputs)
    grad_inputs, grads = layer.backward(upstream(y, dy), cache)
    named = {f"input {i}": grad for i, grad in enumerate(grad_inputs)}
    return {"output": first(y), **named, **grads}


def lifted(layer: Layer, convert: Callable) -> Layer:
    return layer.with_params({key: convert(p) for key, p in layer.params.items()})


# ── torch ────────────────────────────────────────────────────────────────────────────────────────
def torch_conv(layer: Any) -> Callable:
    """Return torch.nn's module of the same arguments, as a function of x and its parameters."""
    import inspect

    import torch

    names = inspect.signature(type(layer)).parameters
    arguments = {name: getattr(layer, name) for name in names if name != "bias"}
    arguments["bias"] = "bias" in layer.params
    module = getattr(torch.nn, type(layer).__name__)(**arguments)
    keys = [name for name, _ in module.named_parameters()]
    assert keys == list(layer.params)
    return lambda x, *params: torch.func.functional_call(
        module, dict(zip(keys, params, strict=True)), (x,)
    )


# ── number systems ───────────────────────────────────────────────────────────────────────────────
def check_gauge(cls: type[Layer], example: Example) -> None:
    """Demand that the gauge's values are the plain run's, bit for bit, and cover float32's."""
    layer, x = built(cls, example, F32), inputs_of(example, F32)
    dy = draw(7, np.shape(first(layer.forward(*x)[0])), F32)
    single = run(layer, x, dy)
    wide = [a.astype(F64) for a in (*x, dy)]
    plain = run(lifted(layer, lambda p: p.astype(F64)), wide[:-1], wide[-1])
    with gauging(F32):
        *measured, dy_ = map(gauge, wide)
        gauged = run(lifted(layer, gauge), measured, dy_)
        for name, found in gauged.items():
            np.testing.assert_array_equal(found.v, plain[name], err_msg=name)
            assert (np.abs(single[name] - found.v) <= found.tolerance(F32)).all(), name
            assert single[name].dtype == F32


def check_exact_numbers(cls: type[Layer], example: Example, convert: Callable) -> None:
    """Demand of whole numbers in another number system just what float64 gives."""
    rng = np.random.default_rng(2)
    layer = lifted(cls(**example.arguments), lambda p: rng.integers(-3, 4, p.shape).astype(F64))
    x = [rng.integers(-3, 4, a.shape).astype(F64) for a in inputs_of(example)]
    dy = rng.integers(-3, 4, np.shape(first(layer.forward(*x)[0]))).astype(F64)
    found = run(lifted(layer, convert), [convert(a) for a in x], convert(dy))

    for name, expected in run(layer, x, dy).items():
        assert found[name].dtype == convert(expected).dtype, name
        assert (found[name] == expected).all(), name


def check_certificate(cls: type[Layer], example: Example, planted: Callable | None = None) -> None:
    """Demand 50 proven digits of backward, in balls."""
    layer, keys = built(cls, example), list(cls(**example.arguments).params)
    inputs = inputs_of(example)

    def forward(*values: Any) -> tuple[Any, Any]:
        held = layer.with_params(dict(zip(keys, values[len(inputs) :], strict=True)))
        y, cache = held.forward(*values[: len(inputs)])
        return first(y), (held, y, cache)

    def backward(dy: Any, cache: Any) -> tuple:
        held, y, own = cache
        grad_inputs, grads = held.backward(upstream(y, dy), own)
        found = (*grad_inputs, *grads.values())
        return found if planted is None else tuple(map(planted, found))

    found = certify(forward, backward, [*inputs, *layer.params.values()])
    assert found.certified, found.note
    assert found.digits >= 50


# ── equations ────────────────────────────────────────────────────────────────────────────────────
def worked(layer: Layer, text: str, arrays: dict[str, np.ndarray], shape: tuple) -> np.ndarray:
    """Return what an equation says, element by element, for an array of this shape."""
    equation, *rest = text.splitlines()
    names = [line.removeprefix("where ") for line in rest if line.startswith("where ")]
    left, _, right = equation.partition(" = ")
    _, indices = head(left)
    scalars: dict[str, Any] = {}
    for name, of in layer.symbols.items():
        value = layer.params.get(of, getattr(layer, of, None))
        if isinstance(value, int | float):
            scalars[name] = value
        elif value is not None and name not in arrays:
            arrays[name] = np.asarray(value)
    env = Env(arrays, scalars, dict(map(definition, names)))
    result = np.empty(shape)
    for at in np.ndindex(shape):
        result[at] = float(env.value(parse(right), bind(indices, at)))
    return result


def check_equations(
    cls: type[Layer], example: Example, keys: dict[str, str], **more: Callable
) -> None:
    """Demand that the equations give what the layer computes.

    Args:
        cls: the layer's class.
        example: how to build it, and its inputs.
        keys: the equations that hold for it, by what they give (`run`'s names).
        more: other arrays that they name, as functions of the layer and its cache.
    """
    layer, (x,) = built(cls, example), inputs_of(example)
    y, cache = layer.forward(x)
    dy = draw(7, np.shape(first(y)))
    arrays = {"x": x, "dy": dy, **{name: make(layer, cache) for name, make in more.items()}}
    found = run(layer, [x], dy)

    assert keys.keys() == found.keys()
    for name, key in keys.items():
        value = worked(layer, layer.equations[key], arrays, found[name].shape)
        assert_close(key, value, found[name], 1e-13)
