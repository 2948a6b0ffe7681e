"""A compiled graph computes what the interpreter does, bit for bit, and training with it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compare.gauge import gauge, gauging
from manual.activations import ReLU, Sigmoid
from manual.clipping import clip_grad_norm, clip_grad_value
from manual.compiled import compiled
from manual.dropout import Dropout
from manual.graph import Graph
from manual.joins import Add, Concatenate
from manual.layer import Layer
from manual.linear import Linear
from manual.losses import CrossEntropyLoss, SquaredErrorLoss
from manual.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from manual.penalties import L2Penalty
from manual.training import Training
from tests.helpers import draw
from tests.manual.test_contract import Cut, Halves, Masked, Rows, Running, bound


def equal(a: Any, b: Any) -> bool:
    """Whether two nests of arrays, tuples and dicts are bitwise the same."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a is b or (
        np.shape(a) == np.shape(b)
        and np.asarray(a).dtype == np.asarray(b).dtype
        and np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    )


X = draw(1, (5, 3))
ROWS = np.array([0, 2, 2, 1, 0])
MASK = np.random.default_rng(0).random((5, 3)) < 0.5


def tied() -> Graph:
    layers = [("wte", Rows(4, 3), ("input",)), ("act", ReLU(), ("wte",)),
              ("head", Linear(3, 4, bias=False), ("act",))]  # fmt: skip
    return bound(Graph(layers, tied={"head.weight": "wte.weight"}))


def cells() -> Graph:
    nodes = [("cell@0", Linear(3, 3), ("input",)), ("a", Sigmoid(), ("cell@0",)),
             ("cell@1", Linear(3, 3), ("a",)), ("y", Add(), ("cell@1", "a"))]  # fmt: skip
    return bound(Graph(nodes))


def ports(*used: str) -> Graph:
    nodes = [("in", Linear(3, 4), ("input",)), ("h", Halves(2), ("in",))]
    return bound(Graph([*nodes, ("y", Concatenate(), used)]))


def penalised() -> Graph:
    nodes = [("0", Linear(3, 4), ("input",)), ("nll", CrossEntropyLoss(), ("0", "target")),
             ("l2", L2Penalty(0.1), ("0.weight",)), ("loss", Add(), ("nll", "l2"))]  # fmt: skip
    return bound(Graph(nodes, ("input", "target")))


def buffered() -> Graph:
    return bound(Graph([("0", Linear(3, 3), ("input",)), ("n@0", Running(3), ("0",)),
                        ("n@1", Running(3), ("n@0",)), ("y", Add(), ("n@0", "n@1"))]))  # fmt: skip


def several() -> Graph:
    nodes = [("0", Linear(3, 4), ("input",)), ("a", Sigmoid(), ("0",)), ("b", ReLU(), ("0",))]
    return bound(Graph(nodes, outputs={"first": "a", "second": "b"}))


def partly_cut() -> Graph:
    nodes = [("0", Linear(3, 3), ("input",)), ("cut", Cut(), ("0",)), ("1", Linear(3, 3), ("cut",)),
             ("2", Linear(3, 3), ("input",)), ("y", Add(), ("1", "2"))]  # fmt: skip
    return bound(Graph(nodes))


def masked() -> Graph:
    nodes = [("0", Linear(3, 3), ("input",)), ("m", Masked(), ("0", "mask", None))]
    return bound(Graph(nodes, ("input", "mask")))


def noisy() -> Graph:
    nodes = [("0", Linear(3, 3), ("input",)), ("d", Dropout(0.5), ("0",)),
             ("inner", Graph([("a", Dropout(0.5), ("input",)), ("b", ReLU(), ("a",))]), ("d",)),
             ("y", Add(), ("d", "inner"))]  # fmt: skip
    return bound(Graph(nodes))


GRAPHS: dict[str, tuple[Callable[[], Graph], dict[str, Any]]] = {
    "tied": (tied, {"input": ROWS}),
    "cells": (cells, {"input": X}),
    "ports": (lambda: ports("h", "h:right"), {"input": X}),
    "one port": (lambda: ports("h:right", "h:right"), {"input": X}),
    "penalty": (penalised, {"input": X, "target": ROWS}),
    "buffers": (buffered, {"input": X}),
    "evaluation": (lambda: buffered().train(False), {"input": X}),
    "outputs": (several, {"input": X}),
    "cut": (partly_cut, {"input": X}),
    "mask": (masked, {"input": X, "mask": MASK}),
    "no mask": (masked, {"input": X}),
    "noise": (noisy, {"input": X}),
    "quiet": (lambda: noisy().train(False), {"input": X}),
}


def interpreted(graph: Graph, inputs: dict, up: Any, noise: Any, wrt: tuple[str, ...]) -> tuple:
    tape = graph.run(inputs, noise=noise)
    if up is None:
        several = isinstance(tape.output, tuple)
        up = tuple(map(np.ones_like, tape.output)) if several else np.ones_like(tape.output)
    grads = graph.gradients(tape, up, wrt=wrt)
    both = grads.params | {n: grads.values[n] for n in wrt if n in grads.values}
    return tape.output, both, tape.buffers


@pytest.mark.parametrize("wrt", [(), ("input",)])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_compiled_graph_is_bitwise_the_interpreter(name: str, seed: Any, wrt: tuple) -> None:
    make, inputs = GRAPHS[name]
    graph = make()
    program = compiled(graph, wrt)

    for up in (None, _upstream(graph, inputs)):
        noise = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        found = program(inputs, up, noise=noise[0])

        assert equal(tuple(found), interpreted(graph, inputs, up, noise[1], wrt))


def _upstream(graph: Graph, inputs: dict) -> Any:
    y = graph.run(inputs).output
    several = isinstance(y, tuple)
    return tuple(draw(7, p.shape) for p in y) if several else draw(7, np.shape(y))


@pytest.mark.parametrize("at", [0, 1])
def test_an_output_without_an_upstream_gradient_passes_none_on(at: int) -> None:
    graph = several()
    up = tuple(draw(7, (5, 4)) if i == at else None for i in range(2))

    assert equal(tuple(compiled(graph)({"input": X}, up)),
                 interpreted(graph, {"input": X}, up, None, ()))  # fmt: skip


def test_the_comparison_rejects_another_network() -> None:
    graph = cells()
    other = bound(graph, seed=50)

    assert not equal(tuple(compiled(other)({"input": X})),
                     interpreted(graph, {"input": X}, None, None, ()))  # fmt: skip


def test_buffers_go_on_from_those_that_are_given() -> None:
    graph = buffered()
    first = compiled(graph)({"input": X})
    second = compiled(graph)({"input": X}, buffers=first.buffers)

    after = graph.with_buffers(first.buffers).run({"input": X}).buffers
    assert equal(second.buffers, after)
    assert not equal(second.buffers, first.buffers)


def test_other_parameters_and_number_systems_are_bound_later() -> None:
    graph, other = penalised(), bound(penalised(), seed=30)
    program = compiled(graph)
    program.bind(other.params)
    inputs = {"input": X, "target": ROWS}
    assert equal(tuple(program(inputs)), interpreted(other, inputs, None, None, ()))

    with gauging(np.dtype(np.float64)):
        program.bind({name: gauge(p) for name, p in other.params.items()})
        found = program({"input": gauge(X), "target": ROWS})
    assert np.array_equal(found.gradients["0.weight"].v, program_values(other)["0.weight"])


def program_values(graph: Graph) -> dict[str, Any]:
    return compiled(graph)({"input": X, "target": ROWS}).gradients


class Broken(Layer):
    """Raises in forward or backward, or returns one gradient too many."""

    def __init__(self, where: str) -> None:
        self.where = where

    def forward(self, x: Any) -> tuple:  # type: ignore[override]
        if self.where == "forward":
            raise ZeroDivisionError("forward")
        return x, None

    def backward(self, grad_output: Any, cache: Any) -> tuple:
        if self.where == "backward":
            raise ZeroDivisionError("backward")
        return (grad_output, grad_output), {}


@pytest.mark.parametrize("where", ["forward", "backward", "count"])
def test_an_error_is_located_as_the_interpreter_locates_it(where: str) -> None:
    graph = bound(Graph([("0", Linear(3, 3), ("input",)), ("b", Broken(where), ("0",))]))
    told = []
    for run in (
        lambda: compiled(graph)(X),
        lambda: interpreted(graph, {"input": X}, None, None, ()),
    ):
        with pytest.raises((ZeroDivisionError, ValueError)) as caught:
            run()
        told.append((str(caught.value), caught.value.__notes__, caught.value.place))  # type: ignore[attr-defined]

    assert told[0] == told[1]


# ── training ─────────────────────────────────────────────────────────────────────────────────────
def network(dtype: Any = np.float64) -> Graph:
    nodes = [("0", Linear(3, 4), ("input",)), ("1", Sigmoid(), ("0",)), ("n", Running(4), ("1",)),
             ("2", Linear(4, 2), ("n",)),
             ("loss", SquaredErrorLoss(0.5), ("2", "target"))]  # fmt: skip
    graph = bound(Graph(nodes, ("input", "target")))
    return graph.with_params({k: p.astype(dtype) for k, p in graph.params.items()})


def trained(graph: Graph, optimizer: Optimizer, x: Any, target: Any, **clip: Any) -> tuple:
    """Train with the interpreter."""
    params, states, losses = graph.params, {}, []
    for lr in (0.5, 0.25, 0.125):
        now = graph.with_params(params)
        tape = now.run({"input": x, "target": target})
        grads = now.gradients(tape, np.ones_like(tape.output)).params
        if "clip_norm" in clip:
            grads, _ = clip_grad_norm(grads, clip["clip_norm"])
        if "clip_value" in clip:
            grads = clip_grad_value(grads, clip["clip_value"])
        params, states = optimizer.step(params, grads, states, lr)
        graph = now.with_params(params).with_buffers(tape.buffers)
        losses.append(tape.output)
    return tuple(losses), params, states, tape.buffers


OPTIMIZERS = (
    SGD(), SGD(momentum=0.9, weight_decay=0.1), Adam(amsgrad=True), AdamW(), Adagrad(),
    RMSprop(momentum=0.5, centered=True),
)  # fmt: skip


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.1}, {"clip_norm": 0.1, "clip_value": 0.01}])
@pytest.mark.parametrize("small", [0, 1 << 14])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_training_is_bitwise_the_interpreter_s(
    optimizer: Optimizer, dtype: Any, small: int, clip: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manual.training.SMALL", small)
    graph = network(dtype)
    x, target = X.astype(dtype), draw(9, (5, 2)).astype(dtype)
    given = {name: p.copy() for name, p in graph.params.items()}

    training = Training(graph, optimizer, **clip)
    losses = tuple(training.step(x, target, lr=lr) for lr in (0.5, 0.25, 0.125))

    expected = trained(graph, optimizer, x, target, **clip)
    assert equal((losses, training.params, training.states, training.buffers), expected)
    assert equal(graph.params, given)


def test_a_gradient_that_does_not_fit_is_refused_as_by_the_optimiser() -> None:
    class Transposed(Linear):
        def grad_params(self, grad_output: Any, cache: Any) -> Any:
            grads = super().grad_params(grad_output, cache)
            return grads | {"weight": grads["weight"].T}

    nodes = [("0", Transposed(3, 2), ("input",)), ("loss", SquaredErrorLoss(), ("0", "target"))]
    training = Training(bound(Graph(nodes, ("input", "target"))), SGD())

    with pytest.raises(
        ValueError, match=r"gradient of '0\.weight' must have the parameter's shape"
    ):
        training.step(X, draw(9, (5, 2)))


def test_parameters_that_are_asked_for_are_no_part_of_training() -> None:
    training = Training(network(), SGD())
    target = draw(9, (5, 2))
    before = training.params
    kept = {name: p.copy() for name, p in before.items()}

    training.step(X, target)

    assert equal(before, kept)
    assert not equal(training.params, kept)
