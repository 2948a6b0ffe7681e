"""Expressions: the course's worked numbers, composed and read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from manual import Expression, expression, variables
from manual.expression import ExpressionError, exp, norm2, parse, sigmoid

SIGMOID = "1/(1+exp(-(w0*x0 + w1*x1 + w2)))"
POINT = {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3}
W, X = [[0.1, 0.5], [-0.3, 0.8]], [0.2, 0.4]


def kinds(found: Expression) -> list[str]:
    return [type(node.layer).__name__.removesuffix("Gate") for node in found.graph.nodes]


def close(found: Any, expected: Any, tolerance: float = 1e-15) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# ── the worked examples of CS231n, lecture 4 ─────────────────────────────────────────────────────
def test_worked_example_1() -> None:
    found = expression("(x + y) * z", x=-2, y=5, z=-4)

    assert found.value == -12
    assert found.values["q1"] == 3
    assert found.gradients == {"x": -4, "y": -4, "z": 3}
    assert found.node_gradients()["q1"] == -4


def test_worked_example_2_through_its_six_kinds_of_gates() -> None:
    found = expression(SIGMOID, **POINT)
    grads = found.node_gradients()

    assert kinds(found) == ["Multiply", "Multiply", "Add", "Add", "Negate", "Exp", "AddConstant",
                            "Reciprocal"]  # fmt: skip
    assert round(float(found.value), 2) == 0.73
    chain = [round(float(grads[name]), 2) for name in ("q7", "q6", "q5", "q4")]
    assert chain == [-0.53, -0.53, -0.20, 0.20]
    rounded = {name: round(float(g), 2) for name, g in found.gradients.items()}
    assert rounded == {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}


def test_the_same_through_one_sigmoid_gate() -> None:
    one = expression("sigmoid(w0*x0 + w1*x1 + w2)", **POINT)
    s = one.value

    close(s, expression(SIGMOID, **POINT).value)
    close(one.gradients["w2"], (1 - s) * s)
    for name, grad in expression(SIGMOID, **POINT).gradients.items():
        close(one.gradients[name], grad)


def test_worked_example_3() -> None:
    found = expression("(x*y + max(z, w)) * 2", x=3, y=-4, z=2, w=-1)

    assert found.value == -20
    assert found.gradients == {"x": -8, "y": 6, "z": 2, "w": 0}


@pytest.mark.parametrize("text", ["sum((W @ x)**2)", "norm2(W @ x)"])
def test_the_vectorised_example(text: str) -> None:
    found = expression(text, W=W, x=X)

    close(found.values["q1"], [0.22, 0.26])
    close(found.value, 0.116)
    close(found.node_gradients()["q1"], [0.44, 0.52])
    close(found.gradients["x"], [-0.112, 0.636])
    close(found.gradients["W"], [[0.088, 0.176], [0.104, 0.208]])


def test_gradients_add_where_a_name_is_used_twice() -> None:
    found = expression("x * y + x", x=3, y=-4)

    assert found.gradients == {"x": -4 + 1, "y": 3}


# ── composed ─────────────────────────────────────────────────────────────────────────────────────
def test_composing_gives_what_reading_gives() -> None:
    x, y, z = variables("x y z")
    composed = expression((x + y) * z, x=-2, y=5, z=-4)
    read = expression("(x + y) * z", x=-2, y=5, z=-4)

    assert repr(composed) == repr(read)
    assert repr(composed.graph) == repr(read.graph)


def test_a_term_used_twice_is_one_node_with_two_branches() -> None:
    (x,) = variables("x")
    s = exp(x)
    found = expression(s * s + s, x=0.5)

    assert kinds(found) == ["Exp", "Multiply", "Add"]
    close(found.gradients["x"], 2 * np.exp(1) + np.exp(0.5))


def test_a_chain_of_shared_terms_is_visited_once_each() -> None:
    (s,) = variables("x")
    for _ in range(60):
        s = s * s

    assert len(expression(s, x=1).graph.nodes) == 60


def test_functions_and_arrays_compose() -> None:
    w, x = variables("W, x")
    close(expression(norm2(w @ x), W=W, x=X).value, 0.116)
    close(expression(1 - sigmoid(x), x=X).value, 1 / (1 + np.exp(X)))


def test_numbers_alone_are_worked_out() -> None:
    assert kinds(expression("(2 + 3) * exp(0) * x", x=1)) == ["MultiplyConstant"]


# ── points, labels, upstream ─────────────────────────────────────────────────────────────────────
def test_labels_are_formulas_that_read_back() -> None:
    text = "-(x - (y - 2)) / (x * (y / 3)) ** 2 + max(x, 0.1) @ y"
    label = repr(parse(text.replace(" @ ", " * ")))

    assert repr(parse(label)) == label


def test_an_array_needs_an_upstream_gradient() -> None:
    found = expression("x * y", x=[1, 2], y=3)

    with pytest.raises(ValueError, match=r"shape \(2,\): there is no gradient of several"):
        _ = found.gradients
    with pytest.raises(ValueError, match=r"must have the value's shape \(2,\), received \(3,\)"):
        found.backward([1, 2, 3])
    assert found.backward([1, 10])["y"] == 21


def test_another_point_and_other_gates() -> None:
    found = expression("x * y", x=2, y=3)

    assert found.at({"x": 4, "y": 5}).value == 20
    assert found.value == 6


def test_float32_stays_float32() -> None:
    found = expression("max(x, 0.5) * 2 + 1 / x", x=np.array([1, 2], np.float32))

    assert found.value.dtype == np.float32
    assert found.backward(np.ones(2, np.float32))["x"].dtype == np.float32


# ── refused ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(x*y + maxx(z, w)) * 2", r"Column 8 .* Did you mean 'max'\? Functions: abs, cos, exp"),
        ("x + y.real", r"Column 5 of .*: 'y.real' is not allowed \(attribute access"),
        ("σ + ζ[0]", r"Column 5 .*an index"),
        ("x ^ 2", r"'x \^ 2' is not allowed \(a power is written \*\*\)"),
        ("y = x * 2", r"Column 3 .*assigns nothing: leave out the ="),
        ("x +", "Column"),
        ("(x", "never closed"),
        ("x if y else z", "if … else"),
        ("exp(x, y)", r"'exp\(x, y\)' cannot be worked out: exp takes one argument\."),
        ("2 * exp()", r"Column 5 .*exp takes one argument"),
        ("sum(x, y)", "sum takes one argument"),
        ("max(x)", r"'max\(x\)' .* max takes two or more arguments\."),
        ("max()", "max takes two or more arguments"),
        ("exp(x=y)", "names an argument"),
        ("exp * x", r"is a function: write exp\(…\)"),
        ("1/0 * x", "division by zero"),
        ("x ** y", r"exponent must be a number. Write exp\(y \* log\(x\)\)"),
        ("(-8) ** 0.5 * x", "no finite real number"),
        ("9**9**9**9 * x", "out of range"),
        ("log(-1) * x", "no finite real number"),
        ("True * x", "not allowed"),
        ("__import__('os').system('true')", "unknown function"),
        ("-" * 3000 + "x", "nested too deeply"),
        ("x" * 20_000, "20000 characters"),
        ("x \0", "null bytes"),
    ],
)
def test_what_is_not_understood_is_named_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("x * y", {"x": 1}, r"no value for y. Give one to every input: x=…, y=…"),
        ("width * 2", {"width": 1, "widht": 2}, "no input 'widht'. Did you mean 'width'"),
        ("x", {"x": 1}, "has no gate"),
        ("2 + 3", {}, "has no input"),
        ("f * 2", {"f": 1}, "'f' is kept"),
        ("x * 2", {"x": [[1], [1, 2]]}, "all of one length"),
        ("x * 2", {"x": "two"}, "expected a number"),
        ("x * 2", {"x": None}, "expected a number"),
        ("W @ x * 2", {"W": W, "x": [1, 2, 3]}, "In 'W @ x': MatMulGate: the inner sizes"),
        ("x + y", {"x": [1, 2], "y": [1, 2, 3]}, r"In 'x \+ y': operands could not be broadcast"),
    ],
)
def test_values_that_do_not_fit_are_named(text: str, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expression(text, **values)


@pytest.mark.parametrize(
    "build", [lambda x: x + "2", lambda x: np.ones(2) * x, lambda x: [1] / x, lambda x: x**x]
)
def test_terms_take_terms_and_numbers_only(build: Callable) -> None:
    with pytest.raises(TypeError):
        build(variables("x")[0])


def test_names_must_be_names() -> None:
    with pytest.raises(ValueError, match="names such as 'x y z'"):
        variables("x 2y")
