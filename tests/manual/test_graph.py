"""The graph: order, bad graphs, gradients that add at branches, and nothing computed in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.activations import Sigmoid, Tanh
from manual.dropout import Dropout
from manual.graph import Gradients, Graph, Node, Sequential, Tape
from manual.joins import Add, Multiply
from manual.linear import Identity, Linear
from tests.helpers import SEEDS, assert_close, draw, set_params

RESIDUAL = [
    ("first", set_params(Linear(3, 3), 1), ("input",)),
    ("bend", Tanh(), ("first",)),
    ("second", set_params(Linear(3, 3), 2), ("bend",)),
    ("sum", Add(), ("second", "first")),
    ("last", set_params(Linear(3, 2), 3), ("sum",)),
]


# ── order ────────────────────────────────────────────────────────────────────────────────────────
@given(nodes=st.permutations(RESIDUAL))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_every_node_follows_its_inputs_however_they_are_listed(nodes: list) -> None:
    order = [node.name for node in Graph(nodes).nodes]

    assert order == ["first", "bend", "second", "sum", "last"]


def test_the_order_of_listing_changes_no_number() -> None:
    x, dy = draw(0, (4, 3)), draw(1, (4, 2))
    one, other = Graph(RESIDUAL), Graph(RESIDUAL[::-1])
    a, b = (g.gradients(g.run(x), dy, wrt=g.inputs) for g in (one, other))

    assert a.values.keys() == b.values.keys()
    assert all(np.array_equal(a.values[k], b.values[k]) for k in a.values)
    assert all(np.array_equal(a.params[k], b.params[k]) for k in a.params)


# ── graphs that are refused ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("nodes", "inputs", "message"),
    [
        ([], ("input",), "at least one node"),
        ([("a", Tanh(), ("b",)), ("b", Tanh(), ("a",))], ("input",), "cycle: (a -> b|b -> a)"),
        ([("a", Tanh(), ("a",))], ("input",), "cycle: a -> a"),
        ([("a", Tanh(), ("inptu",))], ("input",), "'a' takes its input from 'inptu'.*input"),
        ([("a", Tanh(), ("input",)), ("a", Tanh(), ("a",))], ("input",), "'a' is used twice"),
        ([("x", Tanh(), ("x",))], ("x",), "'x' is used twice"),
        ([("a", Tanh(), ("x",))], ("x", "x"), "'x' is used twice"),
        ([("a", Tanh(), ("input",)), ("b", Tanh(), ("input",))], ("input",), "leads nowhere"),
    ],
    ids=["empty", "cycle", "own input", "unknown", "twice", "input's name", "inputs", "dead end"],
)
def test_a_bad_graph_is_refused_with_its_names(nodes: list, inputs: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(nodes, inputs)


# ── gradients ────────────────────────────────────────────────────────────────────────────────────


@st.composite
def networks(draw_: Callable) -> list[Node]:
    """Draw a random graph of width 3 in which branches part, meet, and repeat."""
    names, nodes = ["input"], []
    for i in range(draw_(st.integers(1, 7))):
        kind = draw_(st.sampled_from(["linear", "tanh", "add", "multiply"]))
        count = 1 if kind in ("linear", "tanh") else draw_(st.integers(2, 3))
        sources = tuple(draw_(st.sampled_from(names)) for _ in range(count))
        layer = {
            "linear": set_params(Linear(3, 3), i + 10),
            "tanh": Tanh(),
            "add": Add(),
            "multiply": Multiply(),
        }[kind]
        nodes.append(Node(f"block.{i}", layer, sources))
        names.append(nodes[-1].name)
    used = {source for node in nodes for source in node.inputs}
    ends = tuple(node.name for node in nodes if node.name not in used)
    return nodes if len(ends) == 1 else [*nodes, Node("ends", Add(), ends)]


def torch_gradients(nodes: list[Node], x: np.ndarray, dy: np.ndarray) -> tuple[dict, dict]:
    """Return autograd's gradient of every value and of every parameter."""
    values = {"input": torch.tensor(x, requires_grad=True)}
    params: dict[str, Any] = {}
    for name, layer, sources in nodes:
        own = {k: torch.tensor(p, requires_grad=True) for k, p in layer.params.items()}
        params.update({f"{name}.{k}": p for k, p in own.items()})
        xs = [values[source] for source in sources]
        functions: dict[type, Callable] = {
            Linear: lambda x, own=own: torch.nn.functional.linear(x, *own.values()),
            Tanh: torch.tanh,
            Add: lambda *xs: sum(xs[1:], xs[0]),
            Multiply: lambda *xs: torch.stack(xs).prod(dim=0),
        }
        values[name] = functions[type(layer)](*xs)
        values[name].retain_grad()
    values[nodes[-1].name].backward(torch.tensor(dy))
    grads = {k: v.grad.numpy() for k, v in values.items() if v.grad is not None}
    return grads, {k: p.grad.numpy() for k, p in params.items()}


def check_graph(graph: Graph, nodes: list[Node], seed: int) -> None:
    x, dy = draw(seed, (2, 3), scale=0.7), draw(seed + 1, (2, 3))
    found = graph.gradients(graph.run(x), dy, wrt=graph.inputs)
    values, params = torch_gradients(nodes, x, dy)
    assert found.values.keys() == values.keys()
    assert found.params.keys() == params.keys()
    for key, expected in [*values.items(), *params.items()]:
        assert_close(key, (found.values | found.params)[key], expected, 1e-11)


@given(nodes=networks(), seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_every_gradient_of_a_random_graph_agrees_with_torch(nodes: list[Node], seed: int) -> None:
    check_graph(Graph(nodes), nodes, seed)


class Overwrites(Graph):
    """The classic mistake: the last branch's gradient replaces the others instead of joining."""

    def gradients(self, tape: Tape, grad_output: Any, *, wrt: Any = ()) -> Gradients:
        grads, params = {self.output: grad_output}, {}
        for node in reversed(self.nodes):
            upstream = grads[node.name]
            grad_inputs, own = node.layer.backward(upstream, tape.caches[node.name])
            grads.update(zip(node.inputs, grad_inputs, strict=True))
            params.update({f"{node.name}.{key}": grad for key, grad in own.items()})
        return Gradients(grads, params)


@pytest.mark.parametrize(
    "nodes",
    [
        [Node("h", Tanh(), ("input",)), Node("y", Add(), ("h", "input"))],
        [Node("y", Multiply(), ("input", "input"))],
    ],
    ids=["branch", "same consumer twice"],
)
def test_the_graph_check_rejects_branches_that_overwrite(nodes: list[Node]) -> None:
    check_graph(Graph(nodes), nodes, 0)

    with pytest.raises(AssertionError, match="input: off by"):
        check_graph(Overwrites(nodes), nodes, 0)


def test_a_node_fed_twice_to_one_consumer_gets_both_gradients() -> None:
    graph = Graph([("h", Identity(), ("input",)), ("y", Multiply(), ("h", "h"))])
    x = np.array([0.0, 3.0])
    found = graph.gradients(graph.run(x), np.ones(2), wrt=graph.inputs)

    assert found.values["h"].tolist() == [0, 6]
    assert found.values["input"].tolist() == [0, 6]


def test_several_inputs_are_given_by_name_and_get_their_own_gradients() -> None:
    graph = Graph([("y", Multiply(), ("a", "b"))], inputs=("a", "b"))
    a, b, dy = draw(0, (2, 3)), draw(1, (2, 3)), draw(2, (2, 3))
    tape = graph.run({"a": a, "b": b})
    found = graph.gradients(tape, dy, wrt=graph.inputs)

    assert np.array_equal(tape.output, a * b)
    assert np.array_equal(found.values["a"], dy * b)
    assert np.array_equal(found.values["b"], dy * a)


# ── nothing in vain, nothing remembered ──────────────────────────────────────────────────────────
class Spy(Linear):
    """Counts the calls of each method."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.params = set_params(Linear(in_features, out_features), 0).params
        self.calls = {"backward": 0, "grad_params": 0}

    def backward(self, grad_output, cache):
        self.calls["backward"] += 1
        return (grad_output @ self.params["weight"],), Linear.grad_params(self, grad_output, cache)

    def grad_params(self, grad_output, cache):
        self.calls["grad_params"] += 1
        return super().grad_params(grad_output, cache)


@pytest.mark.parametrize("input_grad", [False, True])
def test_the_input_gradient_is_computed_only_when_asked_for(input_grad: bool) -> None:
    first, second = Spy(3, 4), Spy(4, 2)
    network = Sequential(Identity(), first, Tanh(), second)
    wrt = network.inputs if input_grad else ()
    found = network.gradients(network.run(draw(0, (5, 3))), draw(1, (5, 2)), wrt=wrt)

    assert ("input" in found.values) == input_grad
    assert ("0" in found.values) == input_grad
    assert first.calls == {"backward": int(input_grad), "grad_params": int(not input_grad)}
    assert second.calls == {"backward": 1, "grad_params": 0}


def test_skipping_the_input_gradient_changes_no_other_number() -> None:
    graph, x, dy = Graph(RESIDUAL), draw(0, (4, 3)), draw(1, (4, 2))
    short = graph.gradients(graph.run(x), dy)
    full = graph.gradients(graph.run(x), dy, wrt=graph.inputs)

    assert set(full.values) - set(short.values) == {"input"}
    assert all(np.array_equal(short.values[k], full.values[k]) for k in short.values)
    assert all(np.array_equal(short.params[k], full.params[k]) for k in full.params)


def test_tapes_of_two_forward_passes_do_not_mix() -> None:
    graph, dy = Graph(RESIDUAL), draw(1, (4, 2))
    first = graph.run(draw(2, (4, 3)))
    alone = graph.gradients(first, dy).params
    graph.run(draw(3, (4, 3)))
    later = graph.gradients(first, dy).params

    assert all(np.array_equal(alone[k], later[k]) for k in alone)


# ── parameters, noise, intercept ─────────────────────────────────────────────────────────────────
def test_parameters_are_keyed_as_torchs_state_dict() -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    mine = Sequential(Linear(3, 4), Tanh(), Linear(4, 2))

    assert list(mine.params) == list(theirs.state_dict())


def test_with_params_returns_another_network_and_leaves_the_first_alone() -> None:
    graph, x = Graph(RESIDUAL), draw(0, (4, 3))
    before = graph.run(x).output
    other = graph.with_params({k: p * 2 for k, p in graph.params.items()})

    assert all(np.array_equal(other.params[k], 2 * p) for k, p in graph.params.items())
    assert not np.array_equal(other.run(x).output, before)
    assert np.array_equal(graph.run(x).output, before)


def test_masks_are_given_by_node_name_and_absent_ones_mean_evaluation() -> None:
    network, x = Sequential(Dropout(0.5), Dropout(0.5)), np.ones((1, 3))
    mask = np.array([[1, 0, 1]])

    assert network.run(x, noise={"0": mask}).output.tolist() == [[2, 0, 2]]
    assert np.array_equal(network.run(x).output, x)


def test_intercept_sees_every_node_and_may_replace_what_it_takes() -> None:
    seen = []

    def intercept(node: Node, inputs: tuple) -> tuple:
        seen.append(node.name)
        return (inputs[0] * 0,) if node.name == "1" else inputs

    tape = Sequential(Identity(), Sigmoid()).run(np.ones(2), intercept=intercept)

    assert seen == ["0", "1"]
    assert tape.output.tolist() == [0.5, 0.5]
    assert tape.values["0"].tolist() == [1, 1]


def test_a_graph_shows_its_nodes_and_what_feeds_them() -> None:
    shown = repr(Graph(RESIDUAL))

    assert "(sum): Add() <- second, first" in shown
    assert "(last): Linear(3, 2, bias=True) <- sum" in shown
