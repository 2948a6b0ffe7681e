"""The layers of a Neural Turing Machine at their edges, each with a mistake that shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torch_ref.memory as twins
from manual.graph import Graph, Node
from manual.linear import Linear
from manual.memory import (
    CircularConvolution,
    InitialState,
    Interpolation,
    MemoryAdd,
    MemoryErase,
    MemoryRead,
    Sharpening,
)
from manual.memory.addressing import turned
from manual.shaping import Unbind


class TestCircularConvolution:
    def test_a_shift_of_one_moves_every_place_on_and_the_last_to_the_front(self) -> None:
        w = np.array([[0.1, 0.2, 0.3, 0.4]])

        assert np.array_equal(
            forward(CircularConvolution(), w, [[0, 0, 1]]), [[0.4, 0.1, 0.2, 0.3]]
        )
        assert np.array_equal(
            forward(CircularConvolution(), w, [[1, 0, 0]]), [[0.2, 0.3, 0.4, 0.1]]
        )
        assert np.array_equal(forward(CircularConvolution(), w, [[0, 1, 0]]), w)

    def test_more_shifts_than_places_go_around(self) -> None:
        y = forward(CircularConvolution(), [1.0, 0.0], [0.0, 0.0, 0.25, 0.0, 0.75])

        assert np.array_equal(y, [1.0, 0.0])

    def test_the_gradient_moves_back(self) -> None:
        w, s = np.eye(4)[:1], np.array([[0.0, 0.0, 1.0]])
        _, cache = CircularConvolution().forward(w, s)
        dy = np.array([[5.0, 6.0, 7.0, 8.0]])
        (dw, ds), _ = CircularConvolution().backward(dy, cache)

        assert np.array_equal(dw, [[6.0, 7.0, 8.0, 5.0]])  # moved forth again, it were [8 5 6 7]
        assert not np.array_equal(dw, turned(dy, 1))
        assert np.array_equal(ds, [[8.0, 5.0, 6.0]])


class TestSharpening:
    def test_gamma_one_changes_nothing_and_a_large_one_leaves_the_largest(self) -> None:
        w = np.array([[0.2, 0.5, 0.3]])

        assert np.allclose(forward(Sharpening(), w, [[1.0]]), w, rtol=1e-15)
        assert np.allclose(forward(Sharpening(), w, [[5000.0]]), [[0, 1, 0]])  # 0 / 0 in torch
        assert twins.Sharpening()(torch.tensor(w), torch.tensor([[5000.0]])).isnan().all()

    @pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0, 3.0])
    def test_where_a_weight_is_zero_it_has_torchs_gradient(self, gamma: float) -> None:
        w, g = np.array([[0.0, 0.75, 0.25]]), np.array([[gamma]])
        mine = gradients(Sharpening(), (w, g))

        for grad, theirs in zip(mine, of_torch(twins.Sharpening(), (w, g)), strict=True):
            assert np.isfinite(grad).all()
            assert np.allclose(grad, theirs, rtol=1e-13, atol=1e-15)

    def test_a_logarithm_forgotten_is_noticed(self) -> None:
        class Flat(Sharpening):
            def backward(self, grad_output: Any, cache: Any) -> Any:
                (dw, _), params = super().backward(grad_output, cache)
                inner = grad_output - (grad_output * cache.y).sum(axis=-1, keepdims=True)
                return (dw, (inner * cache.y).sum(axis=-1, keepdims=True)), params

        given = np.array([[0.1, 0.7, 0.2]]), np.array([[2.0]])

        assert not np.allclose(gradients(Flat(), given)[1], gradients(Sharpening(), given)[1])


class TestInterpolation:
    def test_without_an_old_weighting_the_rest_is_on_the_first_place(self) -> None:
        y = forward(Interpolation(), [[0.0, 0.5, 0.5]], [[0.25]])

        assert np.array_equal(y, [[0.75, 0.125, 0.125]])

    def test_one_that_is_left_out_has_no_gradient(self) -> None:
        _, cache = Interpolation().forward(np.ones((2, 3)), np.ones((2, 1)))

        assert Interpolation().backward(np.ones((2, 3)), cache)[0][2] is None


def test_a_head_that_looks_at_one_place_reads_erases_and_adds_there_alone() -> None:
    memory, second = np.arange(6.0).reshape(1, 3, 2), np.array([[0.0, 1.0, 0.0]])

    assert np.array_equal(forward(MemoryRead(), memory, second), [[2.0, 3.0]])
    erased = forward(MemoryErase(), memory, second, [[1.0, 0.5]])
    assert np.array_equal(erased, [[[0, 1], [0, 1.5], [4, 5]]])
    added = forward(MemoryAdd(), memory, second, [[10.0, 20.0]])
    assert np.array_equal(added, [[[0, 1], [12, 23], [4, 5]]])


def test_an_initial_state_gets_the_gradient_of_every_sample() -> None:
    nodes = [Node("state", InitialState((2,)), ("input",)), Node("out", Linear(2, 1), ("state",))]
    graph = Graph(nodes)
    graph = graph.with_params({name: np.ones(p.shape) for name, p in graph.params.items()})
    tape = graph.run(np.zeros((3, 4)))

    assert np.array_equal(graph.gradients(tape, np.ones((3, 1))).params["state.state"], [3.0, 3.0])


def test_unbinding_has_a_port_for_every_step_and_an_unused_one_no_gradient() -> None:
    nodes = [Node("at", Unbind(1, 3), ("input",)), Node("out", Linear(2, 1), ("at:2",))]
    graph = Graph(nodes)
    graph = graph.with_params({name: np.ones(p.shape) for name, p in graph.params.items()})
    x = np.arange(6.0).reshape(1, 3, 2)
    tape = graph.run(x)

    assert np.array_equal(tape.values["at:1"], x[:, 1])
    grads = graph.gradients(tape, np.ones((1, 1)), wrt=("input",)).values
    assert np.array_equal(grads["input"], [[[0, 0], [0, 0], [1, 1]]])


@pytest.mark.parametrize(
    ("layer", "shapes", "text"),
    [
        (MemoryRead(), ((2, 4, 3), (2, 3)), r"weights \(…, N\), received \(2, 4, 3\), \(2, 3\)"),
        (MemoryRead(), ((4,), ()), "MemoryRead: takes a memory"),
        (MemoryErase(), ((2, 4, 3), (2, 4), (2, 4)), r"a row \(…, W\)"),
        (MemoryAdd(), ((2, 4, 3), (2, 4), (3,)), "leading axes must be the same"),
        (Interpolation(), ((2, 3), (2, 3)), r"a gate \(…, 1\)"),
        (Interpolation(), ((2, 3), (2, 1), (2, 4)), r"old \(2, 4\)"),
        (CircularConvolution(), ((2, 4), (2, 2)), "an odd number of shifts"),
        (CircularConvolution(), ((2, 4), (1, 3)), "same leading axes"),
        (CircularConvolution(), ((2, 0), (2, 3)), "N > 0"),
        (Sharpening(), ((2, 4), (2,)), r"gamma \(…, 1\)"),
        (InitialState((2,)), ((),), "first axis counts samples"),
        (Unbind(1, 3), ((2, 4),), "axis 1 must have 3 elements"),
        (Unbind(2, 3), ((2, 4),), "axis 2 must have 3 elements"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused(layer: Any, shapes: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        layer.forward(*map(np.ones, shapes))


def test_sizes_below_their_least_are_refused() -> None:
    with pytest.raises(ValueError, match="no length may be negative"):
        InitialState((2, -1))
    with pytest.raises(ValueError, match="count must be at least 2"):
        Unbind(1, 1)


def forward(layer: Any, *inputs: Any) -> np.ndarray:
    return layer.forward(*(np.asarray(x, dtype=float) for x in inputs))[0]


def gradients(layer: Any, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    y, cache = layer.forward(*inputs)
    return layer.backward(np.arange(1.0, 1 + y.size).reshape(y.shape), cache)[0]


def of_torch(module: torch.nn.Module, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    y = module(*leaves)
    dy = torch.arange(1.0, 1 + y.numel(), dtype=y.dtype).reshape(y.shape)
    return tuple(g.numpy() for g in torch.autograd.grad(y, leaves, dy))
