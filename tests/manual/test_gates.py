"""The gates: against torch's operations and their own forward pass; ties, broadcasting, purity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.gauge import Gauge, gauge, gauging
from manual import gates
from manual.gates.broadcasting import summed_to
from manual.graph import Layer
from manual.registry import GATES
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    Planted,
    check_against_own_forward,
    check_against_torch,
    check_pure,
    decided,
    draw,
    integers,
)
from torch_ref.gates import gate

PAIRS: list[Layer] = [gates.AddGate(), gates.SubtractGate(), gates.MultiplyGate(),
                      gates.DivideGate(), gates.MaxGate()]  # fmt: skip
SINGLE: list[Layer] = [
    gates.NegateGate(), gates.ReciprocalGate(), gates.ExpGate(), gates.LogGate(),
    gates.SigmoidGate(), gates.TanhGate(), gates.SumGate(), gates.SquaredNormGate(),
    gates.AbsGate(), gates.SinGate(), gates.CosGate(), gates.MeanGate(),
    gates.AddConstantGate(0.75), gates.MultiplyConstantGate(-2.5), gates.PowerGate(0.5),
    gates.PowerGate(3.0), gates.PowerGate(-1.0),
]  # fmt: skip
SHAPES = [((), ()), ((4, 3), (4, 3)), ((4, 3), (3,)), ((), (2, 3)), ((2, 3, 1), (3, 4))]
PRODUCTS = [
    ((4, 3), (3, 2)), ((4, 3), (3,)), ((3,), (3, 2)), ((3,), (3,)), ((2, 4, 3), (3, 2)),
    ((4, 3), (2, 3, 5)), ((3,), (2, 3, 5)),
]  # fmt: skip


def twin(layer: Layer) -> Callable:
    return gate(type(layer).__name__, **vars(layer)).double()


def positive(seed: int, shape: tuple[int, ...], dtype: Any = F64) -> np.ndarray:
    return np.abs(draw(seed, shape, dtype)) + np.asarray(0.25, dtype)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("layer", PAIRS, ids=repr)
def test_two_inputs_broadcast_and_agree_with_torch(layer: Layer, shapes: tuple) -> None:
    xs = [positive(i, shape) for i, shape in enumerate(shapes)]

    check_against_torch(layer, twin(layer), xs)
    if () not in shapes:  # a complex step is taken in an array
        check_against_own_forward(layer, xs, smooth=not isinstance(layer, gates.MaxGate))
    check_pure(layer, xs)


@pytest.mark.parametrize("shape", [(), (4, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("layer", SINGLE, ids=repr)
def test_one_input_agrees_with_torch(layer: Layer, shape: tuple) -> None:
    check_against_torch(layer, twin(layer), [positive(1, shape)])
    if shape:  # a complex step is taken in an array
        smooth = not isinstance(layer, gates.AbsGate)  # |x| of a complex number is real
        check_against_own_forward(layer, [positive(1, shape)], smooth=smooth)
    check_pure(layer, [positive(1, shape)])


@given(layer=st.sampled_from(SINGLE), dtype=DTYPES, seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_both_dtypes_stay_what_they_are(layer: Layer, dtype: np.dtype, seed: int) -> None:
    module = gate(type(layer).__name__, **vars(layer))

    check_against_torch(layer, module, [positive(seed, (3, 2), dtype)], seed)


@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
def test_the_matrix_product_of_vectors_matrices_and_batches(shapes: tuple) -> None:
    xs = [draw(i, shape) for i, shape in enumerate(shapes)]

    check_against_torch(gates.MatMulGate(), torch.matmul, xs)
    check_against_own_forward(gates.MatMulGate(), xs)
    check_pure(gates.MatMulGate(), xs)


def test_every_gate_has_examples_and_a_constant_is_itself() -> None:
    assert {name for name, cls in GATES.items() if not cls.examples} == set()
    assert gate("ConstantGate", value=2.5)() == 2.5
    assert gates.ConstantGate(2.5).forward()[0] == 2.5


# ── patterns ─────────────────────────────────────────────────────────────────────────────────────
def handed_back(layer: Layer, *xs: float) -> list[float]:
    """Return what a gate hands back of an upstream gradient of 2."""
    _, cache = layer.forward(*map(np.float64, xs))
    return [float(g) for g in layer.backward(np.float64(2), cache)[0]]


def test_add_distributes_max_routes_mul_switches() -> None:
    assert handed_back(gates.AddGate(), 3, -4) == [2, 2]
    assert handed_back(gates.MaxGate(), 3, -4) == [2, 0]
    assert handed_back(gates.MultiplyGate(), 3, -4) == [-8, 6]


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_a_tie_of_the_max_gate_is_halved_as_torch_halves_it(dtype: np.dtype) -> None:
    xs = [integers(0, (40,), dtype), integers(1, (40,), dtype)]
    assert (xs[0] == xs[1]).any()

    check_against_torch(gates.MaxGate(), torch.maximum, xs, rtol=0.0)
    assert handed_back(gates.MaxGate(), 5, 5) == [1, 1]


@pytest.mark.parametrize("name", ["MaxGate", "MinGate", "HypotGate", "LogAddExpGate"])
def test_nan_and_infinity_have_torchs_values_and_slopes(name: str) -> None:
    line = [np.nan, -np.inf, 1.0, np.inf]
    x, y = (a.ravel() for a in np.meshgrid(line, line))
    layer, leaves = GATES[name](), [torch.tensor(a, requires_grad=True) for a in (x, y)]
    expected = gate(name)(*leaves)
    slopes = torch.autograd.grad(expected.sum(), leaves)
    with np.errstate(invalid="ignore"):
        z, cache = layer.forward(x, y)
        grads, _ = layer.backward(np.ones_like(z), cache)

    np.testing.assert_array_equal(z, expected.detach())
    for own, slope in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(own, slope)


def test_the_max_gate_tells_which_piece_it_takes() -> None:
    found = decided(gates.MaxGate(), np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0]))

    assert found.tolist() == [-1, 0, 1]


def test_stretched_axes_are_summed_back() -> None:
    assert summed_to(np.ones((2, 4, 3)), (4, 1)).tolist() == [[6.0]] * 4
    assert summed_to(np.ones((2, 3)), ()) == 6


def test_gates_run_on_gauge_arrays_of_numbers() -> None:
    with gauging(F64):
        y, cache = gates.MatMulGate().forward(gauge(np.ones(3)), gauge(np.full(3, 0.1)) * 3)
        grads, _ = gates.MatMulGate().backward(y * 0.3, cache)

    assert isinstance(grads[0], Gauge)
    assert (grads[0].error > 0).all()


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("layer", [*PAIRS, *SINGLE], ids=repr)
def test_a_wrong_backward_is_rejected(layer: Layer) -> None:
    xs = [positive(i, (3,)) for i in range(2 if layer in PAIRS else 1)]
    wrong = Planted(layer, lambda dx, dy: dx * 1.001)

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(wrong, twin(layer), xs)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [((), (2,), "takes arrays"), ((2, 3), (2, 3), r"inner sizes .* \(2, 3\) and \(2, 3\)")],
)
def test_shapes_that_do_not_multiply_are_refused(a: tuple, b: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gates.MatMulGate().forward(np.ones(a), np.ones(b))
