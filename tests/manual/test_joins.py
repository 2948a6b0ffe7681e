"""Add, Multiply and Concatenate."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.graph import Graph, Layer
from manual.joins import Add, Concatenate, Multiply
from tests.helpers import (
    DTYPES,
    F32,
    SEEDS,
    Planted,
    check_against_own_forward,
    check_against_torch,
    check_pure,
    draw,
    integers,
    shapes,
    torch_vjp,
)


def added(*xs: torch.Tensor) -> torch.Tensor:
    return reduce(torch.add, xs)


def multiplied(*xs: torch.Tensor) -> torch.Tensor:
    return reduce(torch.mul, xs)


def joined(*xs: torch.Tensor) -> torch.Tensor:
    return torch.cat(xs, dim=-1)


CASES = [(Add(), added), (Multiply(), multiplied), (Concatenate(), joined)]
every_case = pytest.mark.parametrize(("layer", "function"), CASES, ids=lambda p: repr(p)[:12])


@given(shape=shapes(), count=st.integers(2, 5), dtype=DTYPES, seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_values_and_gradients_agree_with_torch(shape, count, dtype, seed) -> None:
    xs = [draw(seed + i, shape, dtype) for i in range(count)]
    for layer, function in CASES:
        check_against_torch(layer, function, xs, seed)


@given(
    shape=shapes(min_dims=3),
    dim=st.integers(-3, 2),
    sides=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    dtype=DTYPES,
)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_concatenate_takes_different_lengths_along_any_axis(shape, dim, sides, dtype) -> None:
    xs = []
    for i, side in enumerate(sides):
        own = list(shape)
        own[dim] = side
        xs.append(draw(i, own, dtype))

    check_against_torch(Concatenate(dim), lambda *xs: torch.cat(xs, dim=dim), xs, rtol=0.0)


@every_case
def test_backward_is_the_derivative_of_forward(layer: Layer, function: Callable) -> None:
    check_against_own_forward(layer, [draw(i, (2, 3)) for i in range(3)])


@every_case
def test_nothing_given_is_changed(layer: Layer, function: Callable) -> None:
    check_pure(layer, [draw(i, (2, 3), F32) for i in range(3)])


@every_case
def test_whole_numbers_with_zeros_are_bitwise_torchs(layer: Layer, function: Callable) -> None:
    xs = [integers(i, (4, 4)) for i in range(3)]

    assert all((x == 0).any() for x in xs)
    check_against_torch(layer, function, xs, rtol=0.0, upstream=integers)


@every_case
def test_an_array_given_twice_gets_the_sum_of_both_gradients(
    layer: Layer, function: Callable
) -> None:
    x = draw(0, (2, 3))
    graph = Graph([("join", layer, ("input", "input"))])
    tape = graph.run(x)
    dy = draw(1, tape.output.shape)
    _, (expected,) = torch_vjp(lambda x: function(x, x), [x], dy)

    np.testing.assert_allclose(
        graph.gradients(tape, dy, wrt=graph.inputs).values["input"], expected, rtol=1e-15
    )


@every_case
def test_one_input_is_refused(layer: Layer, function: Callable) -> None:
    with pytest.raises(ValueError, match=r"joins two or more inputs, received 1"):
        layer.forward(np.ones((2, 3)))


@pytest.mark.parametrize("layer", [Add(), Multiply()], ids=repr)
def test_shapes_that_broadcast_are_refused(layer: Layer) -> None:
    name = type(layer).__name__

    with pytest.raises(ValueError, match=rf"{name}: .*one shape, received \(2, 3\), \(1, 3\)"):
        layer.forward(np.ones((2, 3)), np.ones((1, 3)))


def test_concatenate_says_which_axis_may_differ() -> None:
    with pytest.raises(
        ValueError, match=r"one shape apart from axis -1, received \(2, 3\), \(4, 3\)"
    ):
        Concatenate().forward(np.ones((2, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"Concatenate: .*received \(2, 3\), \(2, 3, 1\)"):
        Concatenate().forward(np.ones((2, 3)), np.ones((2, 3, 1)))
    with pytest.raises(ValueError, match=r"dim = 2 is no axis of an input of shape \(2, 3\)"):
        Concatenate(2).forward(np.ones((2, 3)), np.ones((2, 3)))


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
@every_case
def test_both_checks_reject_a_scaled_gradient(layer: Layer, function: Callable) -> None:
    wrong, xs = Planted(layer, lambda dx, dy: dx * 1.001), [draw(i, (2, 3)) for i in range(2)]

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(wrong, function, xs)
    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_own_forward(wrong, xs)


@pytest.mark.parametrize(("layer", "function"), CASES[1:], ids=["Multiply", "Concatenate"])
def test_the_torch_check_rejects_swapped_gradients(layer: Layer, function: Callable) -> None:
    class Swapped(type(layer)):  # type: ignore[misc]
        def backward(self, grad_output, cache):
            return super().backward(grad_output, cache)[0][::-1], {}

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(Swapped(), function, [draw(0, (2, 3)), draw(1, (2, 3))])


def test_zeros_reject_a_product_rule_that_divides() -> None:
    class Divides(Multiply):
        def backward(self, grad_output, cache):
            y = reduce(np.multiply, cache.inputs)
            return tuple(grad_output * y / x for x in cache.inputs), {}

    with pytest.raises(RuntimeWarning, match=r"invalid value|divide by zero"):
        check_against_torch(Divides(), multiplied, [integers(i, (4, 4)) for i in range(2)])
