"""The course's formulas and worked numbers, each against what the project computes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.running.experiment import prepare
from manual.activations import ReLU, Sigmoid
from manual.graph import Array, Graph, Layer, Sequential
from manual.joins import Add, Multiply
from manual.linear import Linear
from manual.losses import (
    BCELoss,
    CrossEntropyLoss,
    MulticlassHingeLoss,
    SquaredErrorLoss,
)
from manual.penalties import L2Penalty

RNG = np.random.default_rng(0)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def drawn(*layers: Layer, seed: int = 0) -> Graph:
    """Return the layers in sequence with normal weights."""
    graph = Sequential(*layers)
    rng = np.random.default_rng(seed)
    return graph.with_params({k: rng.normal(size=p.shape) for k, p in graph.params.items()})


def gradients(graph: Graph, loss: Layer, x: Array, y: Array) -> dict[str, np.ndarray]:
    tape = graph.run(x)
    (grad_output, *_), _ = loss.backward(1.0, loss.forward(tape.output, y)[1])
    return graph.gradients(tape, grad_output).params


def assert_same(found: dict[str, np.ndarray], **wanted: np.ndarray) -> None:
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name.replace("__", ".").lstrip("_")], value, rtol=1e-12)


# ------------------------------------------------------------------------- A. the four equations


def test_bp1_to_bp4_on_a_two_hidden_layer_network_with_the_quadratic_cost() -> None:
    graph = drawn(Linear(3, 4), Sigmoid(), Linear(4, 4), Sigmoid(), Linear(4, 2), Sigmoid())
    x, y = RNG.normal(size=(5, 3)), RNG.uniform(size=(5, 2))
    n = len(x)
    w = {k: v for k, v in graph.params.items() if k.endswith("weight")}
    values = graph.run(x).values
    a1, a2, a3 = values["1"], values["3"], values["5"]

    delta3 = (a3 - y) * a3 * (1 - a3)  # BP1: ∇_a C ⊙ σ'(z)
    delta2 = (delta3 @ w["4.weight"]) * a2 * (1 - a2)  # BP2, samples as rows
    delta1 = (delta2 @ w["2.weight"]) * a1 * (1 - a1)
    found = gradients(graph, SquaredErrorLoss(factor=0.5, reduction="mean"), x, y)

    for layer, delta, below in (("0", delta1, x), ("2", delta2, a1), ("4", delta3, a2)):
        bias = sum(delta[i] for i in range(n)) / n  # BP3, averaged over the mini-batch
        weight = sum(np.outer(delta[i], below[i]) for i in range(n)) / n  # BP4
        np.testing.assert_allclose(found[f"{layer}.bias"], bias, rtol=1e-12)
        np.testing.assert_allclose(found[f"{layer}.weight"], weight, rtol=1e-12)


def test_bp1_has_a_matrix_form_with_a_diagonal_jacobian() -> None:
    z, grad_a = RNG.normal(size=4), RNG.normal(size=4)
    y, cache = Sigmoid().forward(z)

    np.testing.assert_allclose(
        Sigmoid().backward(grad_a, cache)[0][0], np.diag(y * (1 - y)) @ grad_a, rtol=1e-12
    )


def test_the_least_mean_squares_rule_is_one_linear_neuron() -> None:
    graph = drawn(Linear(3, 1, bias=False))
    x, y = RNG.normal(size=(1, 3)), RNG.normal(size=(1, 1))
    error = graph.run(x).output - y

    found = gradients(graph, SquaredErrorLoss(factor=0.5), x, y)
    assert_same(found, _0__weight=error[0, 0] * x)


# ---------------------------------------------------------------- B. the students' data classifier


@pytest.mark.parametrize("widths", [(2, 4, 1), (2, 2, 1), (2, 3, 4, 1), (2, 4, 5, 1)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_backward_recursion_of_the_student_networks(widths: tuple, reduction: str) -> None:
    layers: list[Layer] = []
    for inputs, outputs in pairwise(widths):
        layers += [Linear(inputs, outputs), Sigmoid()]
    graph = drawn(*layers)
    x, y = RNG.normal(size=(6, 2)), RNG.integers(0, 2, size=(6, 1)).astype(float)
    tape = graph.run(x)
    share = 1 / len(x) if reduction == "mean" else 1.0

    found = gradients(graph, BCELoss(reduction=reduction), x, y)
    delta = (tape.output - y) * share  # the output error collapses to Ŷ - Y
    for i in range(len(widths) - 2, -1, -1):
        below = tape.values[str(2 * i - 1)] if i else x
        name = str(2 * i)
        np.testing.assert_allclose(found[f"{name}.weight"], (below.T @ delta).T, rtol=1e-9)
        np.testing.assert_allclose(found[f"{name}.bias"], delta.sum(axis=0), rtol=1e-9)
        if i:
            delta = (delta @ graph.params[f"{name}.weight"]) * below * (1 - below)


# ------------------------------------------------- C. the two-layer network, bias-free, by matrices


@pytest.mark.parametrize("activation", [ReLU, Sigmoid])
def test_the_bias_free_softmax_network_in_matrix_form(activation: Callable[[], Layer]) -> None:
    graph = drawn(Linear(5, 4, bias=False), activation(), Linear(4, 3, bias=False))
    x, labels = RNG.normal(size=(7, 5)), RNG.integers(0, 3, size=7)
    w1, w2 = graph.params["0.weight"].T, graph.params["2.weight"].T
    z1, h = x @ w1, graph.run(x).output
    a1 = np.maximum(z1, 0) if activation is ReLU else sigmoid(z1)
    slope = (z1 > 0) if activation is ReLU else a1 * (1 - a1)

    s = np.exp(h) / np.exp(h).sum(axis=1, keepdims=True)
    g2 = s - np.eye(3)[labels]
    g1 = slope * (g2 @ w2.T)
    m = len(x)
    assert_same(
        gradients(graph, CrossEntropyLoss(), x, labels),
        _2__weight=(a1.T @ g2 / m).T,
        _0__weight=(x.T @ g1 / m).T,
    )


# -------------------------------------------------------------- D. six formulas, samples as columns


def test_the_six_vectorised_formulas_and_their_loops() -> None:
    graph = drawn(Linear(3, 4), Sigmoid(), Linear(4, 1), Sigmoid())
    rows, y = RNG.normal(size=(5, 3)), RNG.integers(0, 2, size=(5, 1)).astype(float)
    x, labels, m = rows.T, y.T, len(rows)
    w1, b1 = graph.params["0.weight"], graph.params["0.bias"][:, None]
    w2, b2 = graph.params["2.weight"], graph.params["2.bias"][:, None]
    a1 = sigmoid(w1 @ x + b1)
    a2 = sigmoid(w2 @ a1 + b2)

    dz2 = a2 - labels
    dw2, db2 = dz2 @ a1.T / m, dz2.sum(axis=1, keepdims=True) / m
    dz1 = (w2.T @ dz2) * a1 * (1 - a1)
    dw1, db1 = dz1 @ x.T / m, dz1.sum(axis=1, keepdims=True) / m
    loops = np.zeros_like(dw1)
    for i in range(m):
        for j in range(4):
            for k in range(3):
                loops[j, k] += dz1[j, i] * x[k, i] / m

    np.testing.assert_allclose(loops, dw1, rtol=1e-12)
    assert_same(
        gradients(graph, BCELoss(), rows, y),
        _2__weight=dw2, _2__bias=db2[:, 0], _0__weight=dw1, _0__bias=db1[:, 0],
    )  # fmt: skip


def test_each_sigmoid_layer_keeps_at_most_a_quarter_of_the_gradient() -> None:
    z = np.linspace(-20, 20, 4001)
    _, cache = Sigmoid().forward(z)
    slope = Sigmoid().backward(np.ones_like(z), cache)[0][0]

    assert slope.max() == 0.25
    assert z[slope.argmax()] == pytest.approx(0, abs=1e-12)


# ------------------------------------------------------------------------------ E. CS231n lecture


def scalar_graph() -> Graph:
    """f = (x + y) z."""
    nodes = [("q", Add(), ("x", "y")), ("f", Multiply(), ("q", "z"))]
    return Graph(nodes, inputs=("x", "y", "z"))


def test_worked_example_1_the_product_of_a_sum() -> None:
    graph = scalar_graph()
    tape = graph.run({"x": np.array(-2.0), "y": np.array(5.0), "z": np.array(-4.0)})
    grads = graph.gradients(tape, np.array(1.0), wrt=graph.inputs).values

    assert (tape.values["q"], tape.output) == (3, -12)
    assert {k: float(grads[k]) for k in "xyzq"} == {"x": -4, "y": -4, "z": 3, "q": -4}


def test_worked_example_2_one_sigmoid_neuron() -> None:
    graph = Sequential(Linear(2, 1), Sigmoid()).with_params(
        {"0.weight": np.array([[2.0, -3.0]]), "0.bias": np.array([-3.0])}
    )
    tape = graph.run(np.array([[-1.0, -2.0]]))
    grads = graph.gradients(tape, np.ones((1, 1)), wrt=graph.inputs)

    assert tape.output.item() == pytest.approx(0.73, abs=0.005)
    assert grads.params["0.weight"][0] == pytest.approx([-0.20, -0.39], abs=0.005)
    assert grads.params["0.bias"][0] == pytest.approx(0.20, abs=0.005)
    assert grads.values["input"][0] == pytest.approx([0.39, -0.59], abs=0.005)


def test_the_vectorised_example_of_a_squared_norm() -> None:
    graph = Sequential(Linear(2, 2, bias=False)).with_params(
        {"0.weight": np.array([[0.1, 0.5], [-0.3, 0.8]])}
    )
    tape = graph.run(np.array([[0.2, 0.4]]))
    loss, cache = SquaredErrorLoss().forward(tape.output, np.zeros((1, 2)))
    (grad_q, _), _ = SquaredErrorLoss().backward(1.0, cache)
    grads = graph.gradients(tape, grad_q, wrt=graph.inputs)

    np.testing.assert_allclose(tape.output, [[0.22, 0.26]])
    assert loss == pytest.approx(0.116)
    np.testing.assert_allclose(grad_q, [[0.44, 0.52]])
    np.testing.assert_allclose(grads.values["input"], [[-0.112, 0.636]])
    np.testing.assert_allclose(grads.params["0.weight"], [[0.088, 0.176], [0.104, 0.208]])


def test_the_svm_loss_in_stages_with_its_regularisation() -> None:
    graph = drawn(Linear(4, 3))
    x, labels = RNG.normal(size=(6, 4)), RNG.integers(0, 3, size=6)
    scores = graph.run(x).output
    margins = np.maximum(0, scores - scores[np.arange(6), labels][:, None] + 1)
    margins[np.arange(6), labels] = 0
    data_loss = margins.sum() / 6
    weight = graph.params["0.weight"]

    assert MulticlassHingeLoss().forward(scores, labels)[0] == pytest.approx(data_loss)
    value, cache = L2Penalty(1.0).forward(weight)
    assert value == pytest.approx((weight**2).sum())
    np.testing.assert_allclose(L2Penalty(1.0).backward(1.0, cache)[0][0], 2 * weight)


def test_the_20_line_network_step_by_step() -> None:
    experiment = prepare(load("twenty-lines"))
    w1 = experiment.weights["0.weight"].T
    w2 = experiment.weights["2.weight"].T
    x, y = experiment.rows(np.arange(64))
    assert (x.shape, w1.shape, w2.shape, y.shape) == ((64, 1000), (1000, 100), (100, 10), (64, 10))

    h = sigmoid(x @ w1)
    error = h @ w2 - y
    d_output = 2 * error
    d_w2 = h.T @ d_output
    d_h = d_output @ w2.T
    d_q = d_h * h * (1 - h)
    d_w1 = x.T @ d_q
    side = experiment.manual
    done = side.forward_backward(experiment.weights, x, y, input_grad=True)

    assert float(done.loss) == pytest.approx(float((error**2).sum()))
    np.testing.assert_allclose(done.gradients.params["2.weight"], d_w2.T, rtol=1e-9)
    np.testing.assert_allclose(
        done.gradients.params["0.weight"], d_w1.T, rtol=1e-9, atol=1e-9 * np.abs(d_w1).max()
    )
    np.testing.assert_allclose(
        done.gradients.values["input"], d_q @ w1.T, rtol=1e-9, atol=1e-9 * np.abs(d_q @ w1.T).max()
    )
    config = experiment.config
    assert (config.train.steps, config.optimizer.args["lr"]) == (2000, 1e-4)


def test_the_three_rows_learn_one_datapoint_at_a_time() -> None:
    report = compare.run("three-rows", steps=6, drift=False)
    experiment = prepare(load("three-rows"))

    assert report.verdict == "agree"
    assert experiment.data.features.tolist() == [[1, 2, 3], [3, 2, 1], [1, 5, 7]]
    assert experiment.data.targets.tolist() == [[4, 5], [5, 6], [8, 6]]
    assert [len(batch) for batch in experiment.batches()][:3] == [1, 1, 1]
    first = report.losses["torch"].iloc[0]
    output = experiment.manual.graph.with_params(experiment.weights).run(experiment.features[:1])
    assert first == pytest.approx(0.5 * ((output.output - experiment.targets[:1]) ** 2).sum())
