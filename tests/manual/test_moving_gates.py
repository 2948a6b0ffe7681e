"""Gates that move, contract and invert: what no example shows, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from manual import Conv1d, Embedding, Linear
from manual.gates.contraction import EinsumGate, parsed
from manual.gates.functional import Beside, Chain, Functional
from manual.gates.grouped import GroupedMatMulGate
from manual.gates.matrices import DeterminantGate, InverseGate, LogDeterminantGate, SolveGate
from manual.gates.places import AddAtGate, TakeGate, added_back
from manual.gates.reductions import SumGate
from manual.gates.shapes import MeshGate, ReshapeGate, SliceGate, SplitGate

RNG = np.random.default_rng(0)


def gradients(layer: Any, *inputs: np.ndarray) -> tuple[Any, ...]:
    """Return what a layer makes of an upstream gradient 1, 2, 3 …"""
    y, cache = layer.forward(*inputs)
    return layer.backward(np.arange(1.0, y.size + 1).reshape(y.shape), cache)[0]


# ── places ───────────────────────────────────────────────────────────────────────────────────────
def test_what_is_taken_twice_adds_up_and_what_no_input_fills_takes_nothing() -> None:
    gate = TakeGate([[2, -1, 2], [0, 2, -1]], fill=9.0)
    y, _ = gate.forward(np.array([5.0, 6.0, 7.0]))

    np.testing.assert_array_equal(y, [[7, 9, 7], [5, 7, 9]])
    np.testing.assert_array_equal(gradients(gate, np.zeros(3))[0], [4, 0, 1 + 3 + 5])


@pytest.mark.parametrize("places", [[], [-1, -1]])
def test_nothing_taken_leaves_zeros(places: list[int]) -> None:
    (dx,) = gradients(TakeGate(places), np.ones(2))

    np.testing.assert_array_equal(dx, [0, 0])


def test_adding_back_sums_every_place_as_numpy_does() -> None:
    values, places = RNG.standard_normal(50), RNG.integers(-1, 7, 50)
    expected = np.zeros(7)
    np.add.at(expected, places[places >= 0], values[places >= 0])

    np.testing.assert_allclose(added_back(values, places, 7), expected)
    wrong = added_back(values, np.where(places == 6, 5, places), 7)  # planted: one place off
    assert not np.allclose(wrong, expected)


def test_values_that_broadcast_to_their_places_get_a_sum() -> None:
    dx, dv = gradients(AddAtGate([[0, 1], [1, 2]]), np.zeros(3), np.ones(2))

    np.testing.assert_array_equal(dx, [1, 2, 3])
    np.testing.assert_array_equal(dv, [1 + 2, 2 + 3])


# ── pieces without a gradient ────────────────────────────────────────────────────────────────────
def test_a_piece_without_a_gradient_counts_as_zeros() -> None:
    split, mesh = SplitGate((1, 2)), MeshGate([(2, 1), (3,)])
    _, cut = split.forward(np.ones((3, 2)))
    _, met = mesh.forward(np.ones(2), np.ones(3))

    (dx,) = split.backward((None, np.full((2, 2), 5.0)), cut)[0]
    da, db = mesh.backward((np.ones((2, 3)), None), met)[0]

    np.testing.assert_array_equal(dx, [[0, 0], [5, 5], [5, 5]])
    np.testing.assert_array_equal(da, [3, 3])
    np.testing.assert_array_equal(db, [0, 0, 0])


def test_one_piece_is_no_tuple() -> None:
    y, cache = SplitGate((2,)).forward(np.ones(2))

    assert y.shape == (2,)
    assert SplitGate((2,)).backward(y, cache)[0][0].shape == (2,)


# ── contractions ─────────────────────────────────────────────────────────────────────────────────
EQUATIONS = [
    ("ij,jk", [(2, 3), (3, 2)]), ("iii->i", [(2, 2, 2)]), ("ii", [(3, 3)]), ("i->", [(3,)]),
    ("...ij,...jk->...ik", [(2, 1, 2, 3), (4, 3, 2)]), ("ij,kl->", [(2, 3), (2, 3)]),
    ("i,i,i", [(3,), (3,), (3,)]), ("iji->ij", [(2, 3, 2)]), ("a,b,c->cab", [(2,), (3,), (4,)]),
    ("ijj,k->ik", [(2, 1, 1), (3,)]), ("b...i, bi -> b...", [(2, 3, 2), (2, 2)]),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_contractions_agree_with_torch(equation: str, shapes: list[tuple[int, ...]]) -> None:
    inputs = [RNG.standard_normal(shape) for shape in shapes]
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    theirs = torch.einsum(equation, *leaves)
    dy = RNG.standard_normal(tuple(theirs.shape))
    y, cache = EinsumGate(equation).forward(*inputs)

    np.testing.assert_allclose(y, theirs.detach(), atol=1e-12)
    grads = torch.autograd.grad(theirs, leaves, torch.tensor(dy))
    for mine, grad in zip(EinsumGate(equation).backward(dy, cache)[0], grads, strict=True):
        np.testing.assert_allclose(mine, grad, atol=1e-12)
        assert not np.allclose(1.001 * mine, grad, atol=1e-9)  # planted


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [("ij,jk", [(2, 3), (2, 3)]), ("ii", [(2, 1)]), ("ij", [(2,)]), ("i,i", [(2,)])],
)
def test_equations_that_do_not_fit_are_refused(equation: str, shapes: list[Any]) -> None:
    with pytest.raises(ValueError, match="EinsumGate"):
        parsed(equation, shapes)


# ── matrices ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("gate", [InverseGate(), DeterminantGate()])
def test_a_singular_matrix_is_refused(gate: Any) -> None:
    with pytest.raises(ValueError, match="no inverse"):
        gate.forward(np.array([[1.0, 2.0], [2.0, 4.0]]))


def test_elimination_exchanges_rows_where_a_pivot_is_zero() -> None:
    a = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [3.0, 0.0, 1.0]])
    inverse, _ = InverseGate().forward(a)

    np.testing.assert_allclose(inverse, np.linalg.inv(a))
    np.testing.assert_allclose(DeterminantGate().forward(a)[0], np.linalg.det(a))  # signs too


def test_a_logarithm_that_is_nan_has_no_slope() -> None:
    turned = np.array([[[0.0, 1.0], [2.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]]])
    layer, leaf = LogDeterminantGate(signed=False), torch.tensor(turned, requires_grad=True)
    y, cache = layer.forward(turned)
    (slope,) = torch.autograd.grad(torch.logdet(leaf).nansum(), leaf)

    np.testing.assert_allclose(y, torch.logdet(leaf).detach())
    np.testing.assert_allclose(layer.backward(np.ones(2), cache)[0][0], slope)


def test_a_product_in_groups_has_a_group() -> None:
    with pytest.raises(ValueError, match="ends must be one or more whole numbers"):
        GroupedMatMulGate([])


def test_right_sides_share_one_matrix() -> None:
    a, b = np.array([[2.0, 1.0], [0.0, 4.0]]), RNG.standard_normal((3, 2, 1))
    leaves = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    theirs = torch.linalg.solve(*leaves)
    dy = torch.arange(1.0, 7, dtype=torch.float64).reshape(3, 2, 1)

    for mine, grad in zip(
        gradients(SolveGate(), a, b), torch.autograd.grad(theirs, leaves, dy), strict=True
    ):
        np.testing.assert_allclose(mine, grad, rtol=1e-12)


# ── layers as functions ──────────────────────────────────────────────────────────────────────────
def test_parameters_as_inputs_get_the_layers_gradients() -> None:
    x, weight, bias = RNG.standard_normal((2, 3)), RNG.standard_normal((4, 3)), np.ones(4)
    held = Linear(3, 4).with_params({"weight": weight, "bias": bias})
    y, cache = held.forward(x)
    dy = np.arange(1.0, y.size + 1).reshape(y.shape)
    (dx,), own = held.backward(dy, cache)
    given = gradients(Functional(Linear(3, 4), ("weight", "bias")), x, weight, bias)

    for mine, expected in zip(given, (dx, own["weight"], own["bias"]), strict=True):
        np.testing.assert_array_equal(mine, expected)
    exchanged = gradients(Functional(Linear(3, 3, bias=False), ("weight",)), x, np.eye(3))
    assert exchanged[1].shape == (3, 3)
    assert repr(Functional(Conv1d(1, 1, 1), ())).startswith("Conv1d")


def test_a_table_given_as_input_is_looked_up() -> None:
    table = RNG.standard_normal((3, 2))
    index, dtable = gradients(Functional(Embedding(3, 2), ("weight",)), np.array([2, 2]), table)

    assert index is None
    np.testing.assert_array_equal(dtable, [[0, 0], [0, 0], [1 + 3, 2 + 4]])


def test_a_chain_is_its_layers_one_after_another() -> None:
    chain = Chain(SliceGate((slice(1, None),)), ReshapeGate((-1,)), SumGate())
    y, _ = chain.forward(np.arange(6.0).reshape(3, 2))

    assert y == 2 + 3 + 4 + 5
    np.testing.assert_array_equal(gradients(chain, np.zeros((3, 2)))[0], [[0, 0], [1, 1], [1, 1]])
    assert repr(chain).count(", then ") == 2


def test_what_stands_beside_a_result_takes_no_gradient() -> None:
    gate = Beside(InverseGate(), info=np.zeros((), np.int32))
    (y, info), cache = gate.forward(2 * np.eye(2))

    assert gate.outputs == ("output", "info")
    assert info == 0
    np.testing.assert_allclose(gate.backward((y, None), cache)[0][0], -0.125 * np.eye(2))
