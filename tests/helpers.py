"""How a hand-written layer is checked: against torch, against its own forward, and for purity.

Each check raises AssertionError; the tests also hand each one a planted mistake it must reject.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from manual.graph import Layer

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
RTOL = {F64: 1e-12, F32: 2e-5}  # of the largest element; tiny networks, few roundings

DTYPES = st.sampled_from([F64, F32])
SEEDS = st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 1, max_dims: int = 3, max_side: int = 5) -> st.SearchStrategy[tuple]:
    """Draw array shapes."""
    return st.lists(st.integers(1, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def draw(seed: int, shape: Sequence[int], dtype: np.dtype = F64, scale: float = 2.0) -> np.ndarray:
    """Return normal numbers that no seed makes zero, so that no derivative is hidden."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale + 1e-3).astype(dtype)


def set_params(layer: Layer, seed: int, dtype: np.dtype = F64) -> Layer:
    """Return the layer with random non-zero parameters."""
    return layer.with_params(
        {k: draw(seed + i, p.shape, dtype, 1.0) for i, (k, p) in enumerate(layer.params.items())}
    )


def assert_close(name: str, actual: Any, expected: Any, rtol: float, scale: float = 0.0) -> None:
    """Demand shape, dtype, and a distance within rtol of the largest element, or of `scale`.

    With rtol, subnormal numbers and their neighbours count as 0, as torch's kernels may make them.
    """
    assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, not {expected.shape}"
    assert actual.dtype == expected.dtype, f"{name}: dtype {actual.dtype}, not {expected.dtype}"
    largest = np.abs(expected).max(initial=scale)
    distance = np.abs(actual - expected).max(initial=0.0)
    floor = 1000 * np.finfo(actual.dtype).tiny if rtol else 0.0
    assert distance <= rtol * largest + floor, f"{name}: off by {distance:.3g} of {largest:.3g}"


def integers(seed: int, shape: Sequence[int], dtype: np.dtype = F64) -> np.ndarray:
    """Return small whole numbers, zeros and ties among them: sums and products stay exact."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


# ── against torch ────────────────────────────────────────────────────────────────────────────────
def torch_vjp(
    function: Callable, inputs: Sequence[np.ndarray], dy: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a torch function's value and the gradients of Σ dy · value."""
    import torch

    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    y = function(*leaves)
    grads = torch.autograd.grad(y, leaves, torch.tensor(dy))
    return y.detach().numpy(), [g.numpy() for g in grads]


def check_against_torch(
    layer: Layer,
    function: Callable,
    inputs: Sequence[np.ndarray],
    seed: int = 0,
    *,
    rtol: float | None = None,
    scale: float = 0.0,
    upstream: Callable[..., np.ndarray] = draw,
) -> None:
    """Compare value and every gradient with autograd's, under a random upstream gradient.

    `function` takes the layer's inputs, then its parameters in their order. rtol 0 is bitwise;
    `scale` is the size of what cancels inside, where that leaves less (1 - tanh², say).
    """
    dtype, keys = inputs[0].dtype, list(layer.params)
    rtol = RTOL[dtype] if rtol is None else rtol
    y, cache = layer.forward(*inputs)
    dy = upstream(seed, y.shape, dtype)
    expected, expected_grads = torch_vjp(function, [*inputs, *layer.params.values()], dy)
    assert_close("output", y, expected, rtol, scale)
    grad_inputs, grad_params = layer.backward(dy, cache)
    assert list(grad_params) == keys
    names = [f"input {i}" for i in range(len(inputs))] + keys
    grads = [*grad_inputs, *grad_params.values()]
    for name, mine, theirs in zip(names, grads, expected_grads, strict=True):
        assert_close(f"gradient of {name}", mine, theirs, rtol, scale)
    for key, grad in layer.grad_params(dy, cache).items():
        assert_close(f"{key} by grad_params", grad, grad_params[key], 0.0)


# ── against the layer's own forward, without torch ───────────────────────────────────────────────
def vjp_by_complex_step(
    function: Callable, inputs: Sequence[np.ndarray], dy: np.ndarray, step: float = 1e-100
) -> list[np.ndarray]:
    """Return Σ dy · ∂f/∂x for each element of each input: Im f(x + ih) / h, exact to rounding."""
    return [
        _by_element(
            x, lambda moved, i=i: function(*_swap(inputs, i, moved)).imag / step, dy, step * 1j
        )
        for i, x in enumerate(inputs)
    ]


def vjp_by_central_differences(
    function: Callable, inputs: Sequence[np.ndarray], dy: np.ndarray, step: float = 1e-6
) -> list[np.ndarray]:
    """Return Σ dy · (f(x + h) - f(x - h)) / 2h for each element of each input; about 9 digits."""

    def slope(i: int, moved: np.ndarray) -> np.ndarray:
        mirrored = 2 * inputs[i] - moved
        ahead, behind = function(*_swap(inputs, i, moved)), function(*_swap(inputs, i, mirrored))
        return (ahead - behind) / (2 * step)

    return [
        _by_element(x, lambda moved, i=i: slope(i, moved), dy, step) for i, x in enumerate(inputs)
    ]


def _by_element(x: np.ndarray, slope: Callable, dy: np.ndarray, step: complex) -> np.ndarray:
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(np.result_type(x, type(step)))
        moved[index] += step
        grad[index] = np.sum(dy * slope(moved))
    return grad


def _swap(inputs: Sequence[np.ndarray], i: int, x: np.ndarray) -> list[np.ndarray]:
    """Put x in place i, and every input into x's number system."""
    return [x if k == i else other.astype(x.dtype) for k, other in enumerate(inputs)]


def check_against_own_forward(
    layer: Layer, inputs: Sequence[np.ndarray], seed: int = 0, *, smooth: bool = True
) -> None:
    """Compare backward with the derivative of forward: complex step, or central differences.

    Central differences are for layers that a complex number cannot pass; keep off their kinks.
    """
    keys = list(layer.params)

    def forward(*values: np.ndarray) -> np.ndarray:
        params = dict(zip(keys, values[len(inputs) :], strict=True))
        return layer.with_params(params).forward(*values[: len(inputs)])[0]

    y, cache = layer.forward(*inputs)
    dy = draw(seed, y.shape)
    grad_inputs, grad_params = layer.backward(dy, cache)
    vjp = vjp_by_complex_step if smooth else vjp_by_central_differences
    expected = vjp(forward, [*inputs, *layer.params.values()], dy)
    names = [f"input {i}" for i in range(len(inputs))] + keys
    grads = [*grad_inputs, *grad_params.values()]
    for name, mine, numeric in zip(names, grads, expected, strict=True):
        assert_close(f"gradient of {name}", mine, numeric, 1e-12 if smooth else 1e-7)


# ── contract and mistakes ────────────────────────────────────────────────────────────────────────
def check_pure(layer: Layer, inputs: Sequence[np.ndarray], seed: int = 0) -> None:
    """Demand that forward and backward change nothing they are given and repeat exactly."""
    before, params = copy.deepcopy(list(inputs)), copy.deepcopy(layer.params)
    y, cache = layer.forward(*inputs)
    remembered, kept = copy.deepcopy(cache), copy.deepcopy(y)
    dy = draw(seed, y.shape, y.dtype)
    given = dy.copy()
    first = copy.deepcopy(layer.backward(dy, cache))
    layer.forward(*(x + 1 for x in inputs))
    second = layer.backward(dy, cache)
    for what, now, then in [
        ("backward, done twice,", second, first),
        ("the inputs", list(inputs), before),
        ("the parameters", layer.params, params),
        ("the cache", cache, remembered),
        ("the output", y, kept),
        ("the upstream gradient", dy, given),
    ]:
        assert same(now, then), f"{type(layer).__name__}: {what} changed"


def same(a: Any, b: Any) -> bool:
    """Return whether two nests of tuples, lists, dicts and arrays are equal, bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a is b or bool(np.array_equal(a, b))


def decided(layer: Layer, *inputs: Any) -> Any:
    """Return which pieces a layer takes on these inputs."""
    return layer.decisions(layer.forward(*inputs)[1])


class Planted(Layer):
    """A layer with a wrong backward, to see that a check rejects it.

    `input_grad(dx, dy)` replaces the first input's gradient, `param_grad(g)` that of every key.
    """

    def __init__(
        self,
        layer: Layer,
        input_grad: Callable = lambda dx, dy: dx,
        param_grad: Callable = lambda g: g,
    ) -> None:
        self.layer, self.input_grad, self.param_grad = layer, input_grad, param_grad
        self.params = layer.params

    def forward(self, *inputs: Any) -> tuple[Any, Any]:
        return self.layer.with_params(self.params).forward(*inputs)

    def backward(self, grad_output: Any, cache: Any) -> tuple[tuple, dict]:
        (dx, *rest), grads = self.layer.with_params(self.params).backward(grad_output, cache)
        wrong = {key: self.param_grad(g) for key, g in grads.items()}
        return (self.input_grad(dx, grad_output), *rest), wrong
