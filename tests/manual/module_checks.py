"""How a layer with modes and buffers is checked: beside its torch.nn module, in other numbers.

Each check raises AssertionError; the tests also hand each one planted mistakes it must reject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from compare.explaining.bound import Pass
from compare.explaining.equations import chosen
from compare.explaining.evaluate import Env, bind, definition, head
from compare.explaining.language import parse
from compare.gauge import gauge, gauging
from compare.witness.cases import layer_case
from manual.examples import Draw, Example
from manual.layer import Layer
from tests.helpers import F64, RTOL, assert_close, draw, set_params

Named = dict[str, Any]
STATISTICS = {"running_mean": lambda a: a, "running_var": np.abs}  # no variance is negative


def made(
    kind: type[Layer], arguments: Mapping[str, Any], seed: int, dtype: np.dtype, training: bool
) -> Layer:
    """Return a layer with random parameters and running statistics."""
    layer = set_params(kind(**arguments), seed, dtype).train(training)
    buffers = {
        key: STATISTICS[key](draw(seed + 7, b.shape, dtype)) if key in STATISTICS else b
        for key, b in layer.buffers.items()
    }
    return layer.with_buffers(buffers)


def of_example(kind: type[Layer], example: Example, seed: int = 0) -> tuple[Layer, np.ndarray]:
    """Return an example's layer and its input."""
    layer = made(kind, example.arguments, seed, F64, example.training)
    (x,) = example.draw(np.random.default_rng(seed))
    assert x is not None
    return layer, x


def results(layer: Layer, x: Any, dy: Any) -> Named:
    """Return the output, every gradient and the next buffers by name."""
    y, cache = layer.forward(x)
    (dx,), grads = layer.backward(dy, cache)
    found = {"output": y, "grad_input": dx, **{f"grad:{k}": g for k, g in grads.items()}}
    found |= {f"buffer:{k}": b for k, b in layer.next_buffers(cache).items()}
    return {name: value for name, value in found.items() if value is not None}


def close(name: str, mine: Any, theirs: Any, rtol: float, scale: float = 0.0) -> None:
    """Demand closeness, of counts equality."""
    assert_close(name, mine, theirs, 0.0 if theirs.dtype.kind == "i" else rtol, scale)


def shown(example: Example) -> str:
    """Return an example's name in a test's."""
    arguments = ", ".join(f"{k}={v}" for k, v in example.arguments.items())
    where = [x.shape if isinstance(x, Draw | np.ndarray) else x for x in example.inputs]
    return f"{arguments}; {where}; {'training' if example.training else 'evaluation'}"


def upstream(layer: Layer, x: np.ndarray, seed: int, dtype: np.dtype = F64) -> np.ndarray:
    return draw(seed + 3, layer.forward(x)[0].shape, dtype)


# ── beside torch ─────────────────────────────────────────────────────────────────────────────────
def twin(layer: Layer, name: str, arguments: Mapping[str, Any]) -> Any:
    """Return the torch.nn module with the layer's mode, parameters and buffers."""
    import torch

    values = {k: torch.tensor(v) for k, v in {**layer.params, **layer.buffers}.items()}
    floats = [v.dtype for v in values.values() if v.is_floating_point()]
    module = getattr(torch.nn, name)(**arguments).to(floats[0] if floats else torch.float64)
    module.load_state_dict(values)  # strict: the very keys and shapes
    return module.train(layer.training)


def torch_results(module: Any, x: np.ndarray, dy: np.ndarray) -> Named:
    """Return what `results` returns, from torch; the module's buffers move."""
    import torch

    module.zero_grad()
    leaf = torch.tensor(x, requires_grad=x.dtype.kind == "f")
    y = module(leaf)
    found = {"output": y.detach()}
    if y.requires_grad:
        y.backward(torch.tensor(dy))
    found["grad_input"] = leaf.grad
    found |= {f"grad:{k}": p.grad for k, p in module.named_parameters()}
    found |= {f"buffer:{k}": b.clone() for k, b in module.named_buffers()}
    return {name: value.numpy() for name, value in found.items() if value is not None}


def check_module(
    layer: Layer,
    name: str,
    arguments: Mapping[str, Any],
    x: np.ndarray,
    seed: int = 0,
    *,
    scale: float = 0.0,
    rtol: float | None = None,
    passes: int = 1,
) -> None:
    """Compare all results with the module's, over some passes between which the buffers move.

    `scale` is the size of what cancels inside.
    """
    module = twin(layer, name, arguments)
    dtype = np.dtype(layer.forward(x)[0].dtype)
    for k in range(passes):
        given = x + x.dtype.type(k) if x.dtype.kind == "f" else x
        dy = upstream(layer, given, seed + k, dtype)
        mine, theirs = results(layer, given, dy), torch_results(module, given, dy)
        assert list(mine) == list(theirs)
        for key, value in theirs.items():
            close(key, mine[key], value, RTOL[dtype] if rtol is None else rtol, scale)
        layer = layer.with_buffers(layer.next_buffers(layer.forward(given)[1]))


# ── in other number systems ──────────────────────────────────────────────────────────────────────
def check_gauge(layer: Layer, name: str, arguments: Mapping[str, Any], x: np.ndarray) -> None:
    """Demand the plain values on error arrays, and torch's within the tolerances found there.

    The tolerances may not be so wide that they would let half the digits go.
    """
    dy = upstream(layer, x, 0)
    plain = results(layer, x, dy)
    theirs = torch_results(twin(layer, name, arguments), x, dy)
    with gauging(F64):
        lifted = layer.with_params({k: gauge(p) for k, p in layer.params.items()})
        gauged = results(lifted, gauge(x) if x.dtype.kind == "f" else x, gauge(dy))
    assert list(gauged) == list(plain)
    largest = max(float(np.abs(v).max()) for v in plain.values())
    for key, value in gauged.items():
        if not hasattr(value, "tolerance"):
            assert np.array_equal(value, plain[key]), f"{key}: not the plain one"
            continue
        assert np.array_equal(value.v, plain[key]), f"{key}: another value on the gauge"
        tolerance = value.tolerance(F64)
        assert tolerance.max() < 1e-8 * largest, f"{key}: a tolerance of {tolerance.max():.2g}"
        assert (np.abs(plain[key] - theirs[key]) <= tolerance).all(), f"{key}: beyond tolerance"


def check_certified(layer: Layer, x: np.ndarray) -> None:
    """Demand 50 proven digits of every gradient."""
    found = layer_case(layer, x).certify(256, 50, 0)
    assert found.certified, found.note


def check_complex(layer: Layer, x: np.ndarray) -> None:
    """Demand complex arrays in, complex arrays out, and the real results in them."""
    dy = upstream(layer, x, 0)
    lifted = layer.with_params({k: p.astype(complex) for k, p in layer.params.items()})
    given = x.astype(complex) if x.dtype.kind == "f" else x
    found = results(lifted, given, dy.astype(complex))
    for key, real in results(layer, x, dy).items():
        assert np.all(np.imag(found[key]) == 0), key
        close(key, np.real(found[key]).copy(), real, 1e-13)


# ── its equations ────────────────────────────────────────────────────────────────────────────────
def check_equations(layer: Layer, x: np.ndarray, rtol: float = 1e-11) -> set[str]:
    """Compare every element of every result with the layer's equation; return the keys used."""
    dy = upstream(layer, x, 0)
    used = set()
    for role, value in results(layer, x, dy).items():
        if role.startswith("buffer:"):
            continue
        key = chosen(layer.equations, role, Pass(layer, role, (x,), dy).holds)
        expected = np.array(list(_worked(layer, key, x, dy, value.shape))).reshape(value.shape)
        assert_close(f"{key} by its equation", value, expected, rtol, 1e-2)
        used.add(key)
    return used


def _worked(layer: Layer, key: str, x: Any, dy: Any, shape: tuple[int, ...]) -> Iterator[float]:
    first, *lines = layer.equations[key].splitlines()
    left, _, right = first.partition(" = ")
    stated = [line.removeprefix("where ") for line in lines if line.startswith("where ")]
    arrays, scalars = {"x": x, "dy": dy}, {}
    for name, source in layer.symbols.items():
        held = {**layer.params, **layer.buffers}
        if source in held:
            arrays[name] = held[source]
        elif source.startswith("cache."):
            arrays[name] = getattr(layer.forward(x)[1], source.removeprefix("cache."))
        elif source not in ("weight", "bias", "running_mean", "running_var"):
            scalars[name] = getattr(layer, source)
    env = Env(arrays, scalars, dict(map(definition, stated)))
    for at in np.ndindex(shape):
        yield float(env.value(parse(right), bind(head(left)[1], at)))


class OfExamples:
    """What each example of a layer is asked; a test says of which layer, and the size of values."""

    kind: type[Layer]
    scale_of: Callable[[Any, np.ndarray], float]  # of what cancels

    def test_torch_agrees(self, example: Example) -> None:
        layer, x = of_example(self.kind, example)
        scale = type(self).scale_of(layer, x)
        check_module(layer, self.kind.__name__, example.arguments, x, scale=scale)

    def test_the_gauge_has_the_plain_values(self, example: Example) -> None:
        layer, x = of_example(self.kind, example)
        check_gauge(layer, self.kind.__name__, example.arguments, x)

    def test_balls_certify_it(self, example: Example) -> None:
        pytest.importorskip("flint", reason="balls need python-flint")
        check_certified(*of_example(self.kind, example))

    def test_complex_numbers_pass(self, example: Example) -> None:
        check_complex(*of_example(self.kind, example))

    def test_its_equations_hold(self, example: Example) -> None:
        check_equations(*of_example(self.kind, example))
