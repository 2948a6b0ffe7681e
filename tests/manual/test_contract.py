"""The wider contract: ports, calls, ties, buffers, modes, noise, optional inputs, inner graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from manual.activations import ReLU, Tanh
from manual.compiled import compiled
from manual.dropout import Dropout
from manual.graph import Graph, Node, Sequential
from manual.joins import Add, Concatenate, Multiply
from manual.layer import Layer
from manual.linear import Identity, Linear
from manual.losses import CrossEntropyLoss
from manual.penalties import L2Penalty
from tests.helpers import assert_close, decided, draw


# ── layers with what the old contract had no place for ───────────────────────────────────────────
class Cache(NamedTuple):
    x: Any
    other: Any = None


class Halves(Layer):
    """Two outputs: the columns before `at` and those from it on, and which of them is larger."""

    outputs = ("left", "right", "index")

    def __init__(self, at: int) -> None:
        self.at = at

    def forward(self, x):
        return (x[:, : self.at], x[:, self.at :], np.argmax(x, axis=1)), Cache(x)

    def backward(self, grad_output, cache):
        return (np.concatenate(grad_output[:2], axis=1),), {}


class Masked(Layer):
    """x with an optional mask (data) and an optional shift (differentiable)."""

    def forward(self, x, mask=None, shift=None):
        y = x if mask is None else x * mask
        return (y if shift is None else y + shift), Cache(mask, shift is not None)

    def backward(self, grad_output, cache):
        dx = grad_output if cache.x is None else grad_output * cache.x
        return (dx, None, grad_output if cache.other else None), {}


class Rows(Layer):
    """A row of `weight` for each index, as nn.Embedding."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.params = {"weight": np.zeros((num_embeddings, embedding_dim))}

    def forward(self, index):
        return self.params["weight"][index], Cache(index)

    def backward(self, grad_output, cache):
        dw = np.zeros_like(self.params["weight"])
        np.add.at(dw, cache.x, grad_output)
        return (None,), {"weight": dw}


class Running(Layer):
    """x minus a mean: the batch's in training, the running one in evaluation (BatchNorm's core)."""

    def __init__(self, num_features: int) -> None:
        self.buffers = {"running_mean": np.zeros(num_features), "calls": np.array(0)}

    def forward(self, x):
        mean = x.mean(axis=0) if self.training else self.buffers["running_mean"]
        return x - mean, Cache(mean)

    def backward(self, grad_output, cache):
        dx = grad_output - grad_output.mean(axis=0) if self.training else grad_output
        return (dx,), {}

    def next_buffers(self, cache):
        if not self.training:
            return self.buffers
        moved = 0.5 * self.buffers["running_mean"] + 0.5 * cache.x
        return {"running_mean": moved, "calls": self.buffers["calls"] + 1}


class Cut(Layer):
    """A layer whose backward forgets its input."""

    def forward(self, x):
        return 2 * x, None

    def backward(self, grad_output, cache):
        return (None,), {}


def bound(graph: Graph, seed: int = 0) -> Graph:
    """Return the graph with drawn parameters."""
    shapes = {k: p.shape for k, p in graph.params.items()}
    return graph.with_params({k: draw(seed + i, s) for i, (k, s) in enumerate(shapes.items())})


def check(graph: Graph, inputs: dict[str, Any], function: Callable, **run: Any) -> None:
    """Demand autograd's value and gradients: `function(params, inputs)` is torch's."""
    params = {k: torch.tensor(p, requires_grad=True) for k, p in graph.params.items()}
    leaves = {k: torch.tensor(x) for k, x in inputs.items()}
    wrt = {k: x.requires_grad_() for k, x in leaves.items() if x.is_floating_point()}
    y = function(params, leaves)
    dy = draw(99, y.shape)
    ours = params | wrt
    theirs = torch.autograd.grad(y, [*ours.values()], torch.tensor(dy), allow_unused=True)

    tape = graph.run(inputs, **run)
    found = graph.gradients(tape, dy, wrt=tuple(wrt))

    assert_close("output", tape.output, y.detach().numpy(), 1e-12)
    both = found.values | found.params
    for name, grad in zip(ours, theirs, strict=True):
        assert (name in both) == (grad is not None), name
        if grad is not None:
            assert_close(name, both[name], grad.numpy(), 1e-12)
    same = compiled(graph, tuple(wrt))(inputs, dy, **run).gradients
    assert all(np.array_equal(same[name], both[name]) for name in ours if name in both)
    assert same.keys() == both.keys() & ours.keys()


# ── ports ────────────────────────────────────────────────────────────────────────────────────────
def halves(*used: str) -> Graph:
    last = [("y", Concatenate(), used)] if len(used) > 1 else [("y", Tanh(), used)]
    return bound(Graph([("in", Linear(3, 4), ("input",)), ("h", Halves(2), ("in",)), *last]))


def torch_halves(params: dict, inputs: dict) -> tuple:
    h = nn.functional.linear(inputs["input"], *params.values())
    return h[:, :2], h[:, 2:]


def test_a_port_is_called_by_its_name_and_the_first_by_its_node() -> None:
    both = lambda p, i: torch.cat(torch_halves(p, i)[::-1], 1)  # noqa: E731

    check(halves("h:right", "h"), {"input": draw(1, (5, 3))}, both)
    check(halves("h:right", "h:left"), {"input": draw(1, (5, 3))}, both)


@pytest.mark.parametrize(("port", "index"), [("h", 0), ("h:right", 1)])
def test_an_output_that_nothing_uses_has_a_gradient_of_zero(port: str, index: int) -> None:
    check(halves(port), {"input": draw(1, (5, 3))}, lambda p, i: torch_halves(p, i)[index].tanh())


def test_a_graph_has_several_outputs_and_an_upstream_gradient_for_each() -> None:
    nodes = [("h", Halves(2), ("input",)), ("t", Tanh(), ("h",))]
    graph = Graph(nodes, outputs={"bent": "t", "plain": "h:right", "again": "t"})
    x = draw(0, (5, 4))
    (bent, plain, again), tape = graph.forward(x)
    dys = draw(1, bent.shape), draw(2, plain.shape), draw(3, again.shape)
    (dx,), _ = graph.backward(dys, tape)
    (unused,), _ = graph.backward((dys[0], None, None), tape)

    assert graph.outputs == ("bent", "plain", "again")
    assert np.array_equal(bent, np.tanh(x[:, :2]))
    assert np.array_equal(plain, x[:, 2:])
    slope = 1 - np.tanh(x[:, :2]) ** 2
    np.testing.assert_allclose(dx, np.hstack([(dys[0] + dys[2]) * slope, dys[1]]), rtol=1e-14)
    np.testing.assert_allclose(unused, np.hstack([dys[0] * slope, 0 * dys[1]]), rtol=1e-14)


def test_a_port_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"'y' takes its input from 'h:middle'.*h:right"):
        Graph([("h", Halves(2), ("input",)), ("y", Tanh(), ("h:middle",))])
    with pytest.raises(ValueError, match=r"output 'z' is neither"):
        Graph([("h", Tanh(), ("input",))], outputs={"output": "z"})


# ── one module called twice, tied weights, parameters as values ──────────────────────────────────
CELL = [("cell@0", Linear(3, 3), ("input",)), ("t", Tanh(), ("cell@0",)),
        ("cell@1", Linear(3, 3), ("t",))]  # fmt: skip


def torch_cell(p: dict, i: dict) -> torch.Tensor:
    own = p["cell.weight"], p["cell.bias"]
    return nn.functional.linear(nn.functional.linear(i["input"], *own).tanh(), *own)


def test_calls_of_one_module_share_its_parameters_and_their_gradients_add() -> None:
    graph = bound(Graph(CELL))

    assert list(graph.params) == ["cell.weight", "cell.bias"]
    check(graph, {"input": draw(1, (5, 3))}, torch_cell)


def test_the_check_rejects_a_gradient_of_one_call_only() -> None:
    class Last(Graph):
        def gradients(self, *args: Any, **options: Any) -> Any:
            found = super().gradients(*args, **options)
            return found._replace(params={k: g / 2 for k, g in found.params.items()})

    with pytest.raises(AssertionError, match=r"cell\.weight: off by"):
        check(bound(Last(CELL)), {"input": draw(1, (5, 3))}, torch_cell)


TIED = [("wte", Rows(5, 3), ("tokens",)), ("t", Tanh(), ("wte",)),
        ("lm_head", Linear(3, 5, bias=False), ("t",))]  # fmt: skip


def test_a_tied_weight_is_one_parameter_with_the_sum_of_both_gradients() -> None:
    graph = bound(Graph(TIED, inputs=("tokens",), tied={"lm_head.weight": "wte.weight"}))
    tokens = np.array([0, 3, 3, 1])

    def function(p: dict, i: dict) -> torch.Tensor:
        w = p["wte.weight"]
        return nn.functional.linear(nn.functional.embedding(i["tokens"], w).tanh(), w)

    assert list(graph.params) == ["wte.weight"]
    assert graph.state_names() == {"wte.weight": "wte.weight", "lm_head.weight": "wte.weight"}
    check(graph, {"tokens": tokens}, function)


def test_layers_that_share_start_from_one_array() -> None:
    nodes = [(n, Linear(2, 2).with_params({"weight": np.eye(2) * i, "bias": np.ones(2) * i}), s)
             for i, n, s in [(1, "cell@0", ("input",)), (2, "cell@1", ("cell@0",))]]  # fmt: skip
    graph = Graph(nodes)

    assert graph.run(np.zeros((1, 2))).output.tolist() == [[2, 2]]  # twice + 1
    assert graph.params["cell.bias"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("tied", "message"),
    [
        ({"lm_head.weight": "wte.wait"}, "tied: 'wte.wait' is no parameter"),
        ({"lm_head.wait": "wte.weight"}, "tied: 'lm_head.wait' is no parameter"),
        ({"other.weight": "wte.weight"}, r"'other' shares 'wte.weight', .*\(5, 3\).*\(2, 3\)"),
    ],
)
def test_a_tie_that_does_not_fit_is_refused(tied: dict, message: str) -> None:
    nodes = [*TIED, ("other", Linear(3, 2, bias=False), ("t",)), ("y", Concatenate(),
             ("lm_head", "other"))]  # fmt: skip
    with pytest.raises(ValueError, match=message):
        Graph(nodes, inputs=("tokens",), tied=tied)


def test_a_training_step_is_one_graph_that_ends_in_its_loss_and_penalties() -> None:
    graph = bound(Graph(
        [("fc", Linear(3, 2), ("input",)), ("loss", CrossEntropyLoss(), ("fc", "target")),
         ("l2", L2Penalty(0.1), ("fc.weight",)), ("total", Add(), ("loss", "l2"))],
        inputs=("input", "target"),
    ))  # fmt: skip

    def function(p: dict, i: dict) -> torch.Tensor:
        scores = nn.functional.linear(i["input"], p["fc.weight"], p["fc.bias"])
        return (
            nn.functional.cross_entropy(scores, i["target"]) + 0.1 * p["fc.weight"].square().sum()
        )

    check(graph, {"input": draw(1, (4, 3)), "target": np.array([0, 1, 1, 0])}, function)


# ── inputs that are left out, named, or have no gradient ─────────────────────────────────────────
@pytest.mark.parametrize(
    "inputs",
    [("x", "mask", "shift"), ("x", "shift=shift", "mask=mask"), ("x", "shift=shift"),
     ("x", None, "shift"), ("x", "mask=mask"), ("x",)],
)  # fmt: skip
def test_optional_inputs_are_given_by_place_or_keyword_or_left_out(inputs: tuple) -> None:
    names = [s.partition("=")[2] or s for s in inputs if s]
    graph = Graph([("m", Masked(), inputs), ("t", Tanh(), ("m",))], inputs=tuple(names))
    given = {
        "x": draw(1, (4, 3)),
        "mask": np.arange(12).reshape(4, 3) % 2,
        "shift": draw(2, (4, 3)),
    }

    def function(p: dict, i: dict) -> torch.Tensor:
        return (i["x"] * i.get("mask", 1) + i.get("shift", 0)).tanh()

    check(graph, {name: given[name] for name in names}, function)


def test_an_input_of_the_graph_that_is_not_given_is_none() -> None:
    graph = Graph([("m", Masked(), ("x", "mask"))], inputs=("x", "mask"))
    x = draw(0, (2, 3))

    assert np.array_equal(graph.run({"x": x}).output, x)
    assert np.array_equal(graph.forward(x)[0], x)
    assert graph.backward(x, graph.forward(x)[1])[0][1] is None
    with pytest.raises(ValueError, match=r"inputs are x, mask; received x, maks"):
        graph.run({"x": x, "maks": x})
    with pytest.raises(TypeError, match=r"takes the inputs x, mask; received 3"):
        graph.forward(x, x, x)


@pytest.mark.parametrize(
    "inputs",
    [("x", "x", "x", "x"), ("x", "x=x"), ("x", "masc=x"), (), ("mask=x",)],
    ids=["too many", "twice", "unknown", "too few", "the needed one missing"],
)
def test_inputs_that_do_not_fit_the_layer_are_refused_with_those_that_do(inputs: tuple) -> None:
    with pytest.raises(ValueError, match=r"'m' \(Masked\(\)\) takes the inputs x, mask, shift, of"):
        Graph([("m", Masked(), inputs)], inputs=("x",))


def test_a_gradient_that_a_layer_keeps_to_itself_is_missing_and_not_zero() -> None:
    nodes = [("a", Linear(3, 3), ("input",)), ("c", Cut(), ("a",)), ("b", Linear(3, 3), ("c",))]
    graph = bound(Graph(nodes))
    x = draw(0, (2, 3))
    found = graph.gradients(graph.run(x), x, wrt=("input",))
    _, params = graph.backward(x, graph.forward(x)[1])

    assert found.params.keys() == params.keys() == {"b.weight", "b.bias"}
    assert found.values.keys() == {"b", "c"}


def test_a_backward_with_too_few_gradients_is_refused_by_name() -> None:
    class Short(Add):
        def backward(self, grad_output, cache):
            return (grad_output,), {}

    graph = Graph([("sum", Short(), ("input", "input"))])
    with pytest.raises(ValueError, match=r"'sum' \(Short\(\)\): backward .* 2 of them, received 1"):
        graph.gradients(graph.run(np.ones(2)), np.ones(2), wrt=("input",))


# ── buffers and modes ────────────────────────────────────────────────────────────────────────────
def test_calls_of_one_module_update_its_buffers_one_after_another() -> None:
    nodes = [
        ("bn@0", Running(2), ("input",)),
        ("t", Tanh(), ("bn@0",)),
        ("bn@1", Running(2), ("t",)),
    ]
    graph = Graph(nodes).with_buffers({"bn.running_mean": np.ones(2), "bn.calls": np.array(3)})
    x = draw(0, (5, 2))
    tape = graph.run(x)
    first = 0.5 + 0.5 * x.mean(axis=0)
    second = 0.5 * first + 0.5 * np.tanh(x - x.mean(axis=0)).mean(axis=0)

    assert tape.buffers["bn.calls"] == 5
    np.testing.assert_allclose(tape.buffers["bn.running_mean"], second, rtol=1e-14)
    assert graph.next_buffers(tape) is tape.buffers
    assert graph.buffers["bn.calls"] == 3  # the graph itself stays as it was


def test_evaluation_uses_buffers_and_leaves_them_alone() -> None:
    graph = Graph([("bn", Running(2), ("input",)), ("d", Dropout(0.5), ("bn",))])
    graph = graph.with_buffers({"bn.running_mean": np.ones(2), "bn.calls": np.array(3)}).train(
        False
    )
    x = draw(0, (5, 2))
    tape = graph.run(x, noise=np.random.default_rng(0))

    assert not graph.training
    assert np.array_equal(tape.output, x - 1)
    assert tape.noise == {}
    assert tape.buffers == graph.buffers
    assert graph.train().nodes[0].layer.training


# ── noise ────────────────────────────────────────────────────────────────────────────────────────
def test_what_was_drawn_is_on_the_tape_and_gives_the_same_pass_again() -> None:
    graph, x = Sequential(Dropout(0.5), Tanh(), Dropout(0.25)), draw(0, (6, 5))
    tape = graph.run(x, noise=np.random.default_rng(0))
    drawn = graph.draw(x, rng=np.random.default_rng(0))

    assert tape.noise.keys() == drawn.keys() == {"0", "2"}
    assert all(np.array_equal(tape.noise[k], drawn[k]) for k in drawn)
    assert np.array_equal(graph.forward(x, noise=drawn)[0], tape.output)
    assert not np.array_equal(graph.forward(x)[0], tape.output)
    assert graph.stochastic
    assert not Sequential(Tanh()).stochastic


# ── graphs inside graphs ─────────────────────────────────────────────────────────────────────────
def block() -> Graph:
    """Return a residual block with its first layer's weights on the block itself, and a spare."""
    return Graph(
        [("@in", Linear(3, 3), ("x",)), ("h", Masked(), ("@in", "mask")),
         ("fc", Linear(3, 3), ("h",)), ("sum", Add(), ("fc", "x")), ("spare", ReLU(), ("h",))],
        inputs=("x", "mask"), outputs={"output": "sum", "hidden": "h", "spare": "spare"},
    )  # fmt: skip


def torch_block(p: dict, x: torch.Tensor, mask: Any = 1.0) -> torch.Tensor:
    h = nn.functional.linear(x, p["block.weight"], p["block.bias"]) * mask
    return nn.functional.linear(h, p["block.fc.weight"], p["block.fc.bias"]) + x


@pytest.mark.parametrize("depth", [0, 1])
def test_an_inner_graph_is_unfolded_and_can_be_called_twice(depth: int) -> None:
    nodes = [("block@0", block(), ("input", "mask=mask")), ("block@1", block(), ("block@0",)),
             ("y", Multiply(), ("block@1", "block@0:hidden"))]  # fmt: skip
    graph, prefix = Graph(nodes, inputs=("input", "mask")), ""
    if depth:
        prefix = "net."
        graph = Graph([("net", graph, ("input", "mask"))], inputs=("input", "mask"))
    graph = bound(graph)

    def function(p: dict, i: dict) -> torch.Tensor:
        p = {k.removeprefix(prefix): v for k, v in p.items()}
        first = torch_block(p, i["input"], i["mask"])
        hidden = nn.functional.linear(i["input"], p["block.weight"], p["block.bias"]) * i["mask"]
        return torch_block(p, first) * hidden

    assert {k.removeprefix(prefix) for k in graph.params} == {
        "block.weight", "block.bias", "block.fc.weight", "block.fc.bias"}  # fmt: skip
    assert graph.alias[f"{prefix}block@0"] == f"{prefix}block@0.sum"
    assert f"{prefix}block@0@in" in {n.name for n in graph.nodes}
    mask = np.arange(12).reshape(4, 3) % 2
    check(graph, {"input": draw(7, (4, 3)), "mask": mask}, function)


def test_an_inner_graph_keeps_its_weights_buffers_mode_and_ties() -> None:
    a, n, b = Linear(2, 2), Running(2), Linear(2, 2)
    nodes = [("a", a, ("x",)), ("n", n, ("a",)), ("b", b, ("n",))]
    inner = Graph(nodes, inputs=("x",), tied={"b.weight": "a.weight"})
    inner = bound(inner).with_buffers({"n.running_mean": np.ones(2), "n.calls": np.array(1)})
    outer = Graph([("m", inner.train(False), ("input",))])
    x = draw(3, (2, 2))

    assert np.array_equal(outer.run(x).output, inner.train(False).run({"x": x}).output)
    assert list(outer.params) == ["m.a.weight", "m.a.bias", "m.b.bias"]
    assert outer.state_names()["m.b.weight"] == "m.a.weight"


def test_an_inner_graph_that_nothing_uses_leads_nowhere() -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        Graph([("block", block(), ("input",)), ("t", Tanh(), ("input",))], outputs={"y": "t"})


def test_with_layers_sees_the_new_layers_ports_and_parameters() -> None:
    graph = Graph([("a", Identity(), ("input",)), ("b", Tanh(), ("a",))])
    other = graph.with_layers({"a": Linear(3, 3)})

    assert list(other.params) == ["a.weight", "a.bias"]
    found = other.gradients(other.run(draw(0, (2, 3))), draw(1, (2, 3)))
    assert found.params.keys() == {"a.weight", "a.bias"}
    assert graph.params == {}


def test_decisions_of_a_graph_are_those_of_its_layers() -> None:
    graph = Sequential(ReLU(), Tanh(), ReLU())

    assert [*decided(graph, np.array([-1.0, 2.0]))] == [0, 1, 0, 1]
    assert decided(Sequential(Tanh()), np.ones(1)) is None


def test_a_node_may_be_a_plain_tuple_and_shows_what_feeds_it() -> None:
    graph = Graph([("m", Masked(), ("input", None, "input"))])

    assert graph.nodes == (Node("m", graph.nodes[0].layer, ("input", None, "input")),)
    assert "(m): Masked() <- input, None, input" in repr(graph)
