"""One code, many kinds of numbers: float32, complex numbers, exact fractions, balls."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from manual.activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from manual.dropout import Dropout
from manual.graph import Graph, Layer
from manual.joins import Add, Concatenate, Multiply
from manual.linear import Flatten, Identity, Linear
from manual.maxout import Maxout
from manual.softmax import LogSoftmax, Softmax
from tests.helpers import F32, Planted, assert_close, draw, integers, set_params

JOINS = (Add, Multiply, Concatenate)
LAYERS: list[Layer] = [
    Linear(3, 3), Identity(), Flatten(), Maxout(3, 3),
    Sigmoid(), Tanh(), ReLU(), LeakyReLU(), LeakyReLU(2.0), ELU(2.0), SiLU(), Softplus(),
    Softplus(2.0, 0.5), GELU(), GELU("tanh"), LogSigmoid(), Softmax(-1), LogSoftmax(-1),
    Add(), Multiply(), Concatenate(), Dropout(),
]  # fmt: skip
EXACT: list[Layer] = [
    Linear(3, 3), Identity(), Flatten(), Maxout(3, 3), ReLU(), LeakyReLU(2),
    Add(), Multiply(), Concatenate(),
]  # fmt: skip


def arguments(layer: Layer, x: np.ndarray) -> list:
    """Give a join two inputs."""
    layer = layer.layer if isinstance(layer, Planted) else layer
    if isinstance(layer, JOINS):
        return [x, x[::-1]]
    return [x]


def masks(layer: Layer, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"noise": np.eye(*x.shape)} if isinstance(layer, Dropout) else {}


def run(layer: Layer, x: np.ndarray) -> list:
    """Return the value and every gradient, with the value itself as upstream gradient."""
    y, cache = layer.forward(*arguments(layer, x), **masks(layer, x))
    grad_inputs, grad_params = layer.backward(y, cache)
    return [y, *grad_inputs, *grad_params.values()]


def lift(layer: Layer, convert: Callable) -> Layer:
    return layer.with_params({k: convert(p) for k, p in layer.params.items()})


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_float32_stays_float32_and_near_float64(layer: Layer) -> None:
    layer, x = set_params(layer, 1), draw(0, (4, 3), F32)
    single = run(lift(layer, lambda p: p.astype(F32)), x)

    for mine, exact in zip(single, run(layer, x.astype(float)), strict=True):
        assert mine.dtype == F32
        assert_close("float32", mine.astype(float), exact, 1e-5)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_complex_numbers_without_an_imaginary_part_give_the_real_result(layer: Layer) -> None:
    layer, x = set_params(layer, 1), draw(0, (4, 3))
    found = run(lift(layer, lambda p: p.astype(complex)), x.astype(complex))

    for mine, real in zip(found, run(layer, x), strict=True):
        assert mine.dtype == complex
        assert_close("real part", mine.real.copy(), real, 1e-13)
        assert not mine.imag.any()


def fractions(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: Fraction(v) / 3, otypes=[object])(x)


@pytest.mark.parametrize("layer", EXACT, ids=repr)
def test_fractions_run_through_exactly(layer: Layer) -> None:
    layer = layer.with_params({k: integers(5, p.shape) for k, p in layer.params.items()})
    thirds = run(lift(layer, fractions), fractions(integers(1, (4, 3))))
    floats = run(lift(layer, lambda p: p / 3), integers(1, (4, 3)) / 3)

    for mine, approximate in zip(thirds, floats, strict=True):
        assert all(v == Fraction(v) and not isinstance(v, float) for v in mine.ravel())
        assert_close("fractions", mine.astype(float), approximate, 1e-14)


def test_a_network_of_fractions_has_the_exact_gradient() -> None:
    graph = Graph(
        [
            ("hidden", Linear(2, 2, bias=False), ("input",)),
            ("bent", ReLU(), ("hidden",)),
            ("product", Multiply(), ("bent", "input")),
        ]
    )
    third, seventh = Fraction(1, 3), Fraction(1, 7)
    weight = np.array([[third, seventh], [-third, seventh]], dtype=object)
    x = np.array([[1, 2]], dtype=object)
    graph = graph.with_params({"hidden.weight": weight})
    grad = graph.gradients(graph.run(x), np.array([[1, 1]], dtype=object), wrt=graph.inputs)

    # y = (h₀⁺ x₀, h₁⁺ x₁) with h = (1/3 + 2/7, -1/3 + 2/7): only the first is above zero
    assert grad.params["hidden.weight"].tolist() == [[1, 2], [0, 0]]
    assert grad.values["input"].tolist() == [[third + third + 2 * seventh, seventh]]


STEP, DIGITS = 2.0**-200, 1e-50


@pytest.fixture
def flint() -> Any:
    return pytest.importorskip("flint", reason="balls need python-flint")


def check_digits(flint: Any, layer: Layer, x: np.ndarray) -> None:
    """Demand 50 equal digits of backward and of forward's central difference, in balls."""
    balls = np.vectorize(lambda v: flint.arb(float(v)), otypes=[object])
    with flint.ctx.workprec(700):
        layer, x = lift(layer, balls), balls(x)
        y, *grads = run(layer, x)
        for k in range(x.size):
            shift = np.zeros(x.shape, dtype=object)
            shift.flat[k] = STEP
            ahead, behind = run(layer, x + shift)[0], run(layer, x - shift)[0]
            slope = np.sum(y * (ahead - behind)) / (2 * STEP)
            found = grads[0].flat[k]
            if len(arguments(layer, x)) > 1 and len(grads) > 1:
                found += grads[1][::-1].flat[k]  # the second input is x reversed
            assert abs(found - slope) <= DIGITS * max(1, abs(float(slope))), k  # surely so


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_balls_confirm_the_derivation_to_50_digits(flint: Any, layer: Layer) -> None:
    check_digits(flint, set_params(layer, 1), draw(0, (4, 3)))


@pytest.mark.parametrize("mistake", [lambda dx, dy: dx * (1 + 2.0**-52), lambda dx, dy: dy])
@pytest.mark.parametrize("layer", [GELU(), Softmax(-1), Multiply()], ids=repr)
def test_50_digits_reject_a_gradient_with_only_16(
    flint: Any, layer: Layer, mistake: Callable
) -> None:
    with pytest.raises(AssertionError):
        check_digits(flint, Planted(layer, mistake), draw(0, (4, 3)))
