"""Python floats among the inputs are differentiated if backward has a gradient for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compare

Y = np.array([[0.0, 1.0, 1.0, 0.0, 1.0]])


def by_name(factor: float, shape: tuple[int, ...] = ()) -> Callable:
    """A logistic regression as courses have it: its gradients by name, then the cost."""

    def propagate(w, b, X, Y):
        m = X.shape[1]
        A = 1 / (1 + np.exp(-(w.T @ X + b)))
        cost = -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / m
        return {"dw": X @ (A - Y).T / m, "db": np.full(shape, factor * np.sum(A - Y) / m)}, cost

    return propagate


def in_order(factor: float) -> Callable:
    def loss(w, b, X, Y):
        grads, cost = by_name(factor)(w, b, X, Y)
        return cost, (grads["dw"], grads["db"])

    return loss


def checked(function: Callable, no_grad: tuple[str, ...] = (), **options: Any) -> compare.Report:
    inputs = {"w": (3, 1), "b": 0.0, "X": (3, 5), "Y": Y}
    left = ("X", "Y", *no_grad)
    return compare.check(function, inputs=inputs, no_grad=left, shrink=False, **options)


@pytest.mark.parametrize("made", [by_name, in_order, lambda f: by_name(f, (1, 1))])
def test_the_gradient_of_a_float_is_checked(made: Callable) -> None:
    right, wrong = checked(made(1.0)), checked(made(1.01))

    assert right.agrees, str(right)
    assert "grad:b" in set(right.differences["quantity"])
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity == "grad:b"


def test_a_float_in_no_grad_stays_a_number() -> None:
    report = checked(by_name(1.01), ("b",))

    assert report.agrees
    assert "grad:b" not in set(report.differences["quantity"])


def test_a_float_without_a_gradient_stays_a_number() -> None:
    def loss(x, strength):
        assert type(strength) is float
        return strength * np.sum(x**2), 2 * strength * x

    report = compare.check(loss, inputs={"x": (4, 3), "strength": 0.5}, shrink=False)

    assert report.agrees, str(report)
    assert "grad:strength" not in set(report.differences["quantity"])


def test_beside_a_reference_the_float_is_its_input_too() -> None:
    def forward(x, a):
        return a * x, (x, a)

    def backward(dy, cache):
        x, a = cache
        return a * dy, np.sum(x * dy)

    inputs = {"x": (4, 3), "a": 0.7}

    assert compare.check(forward, backward, lambda x, a: a * x, inputs, shrink=False).agrees


# ── an object's own floats ───────────────────────────────────────────────────────────────────────
class Neuron:
    """One unit whose bias is a float; its gradient's factor is 1 if it is right."""

    factor = 1.0

    def __init__(self, factor: float = 1.0) -> None:
        self.w, self.b, self.eta, self.eps = np.array([0.5, -1.0, 2.0]), 0.0, 0.1, 1e-3
        self.factor = factor

    def forward(self, x):
        self.x = x
        self.a = np.tanh(x @ self.w + self.b + self.eps)
        return self.a

    def gradients(self, dy):
        d = dy * (1 - self.a**2)
        return np.outer(d, self.w), self.x.T @ d, self.factor * d.sum()

    def backward(self, dy):
        dx, self.dw, self.db = self.gradients(dy)
        return dx


class Updating(Neuron):
    def backward(self, dy):
        dx, dw, db = self.gradients(dy)
        self.w -= self.eta * dw
        self.b -= self.eta * db
        return dx


class ByRate(Neuron):
    def backward(self, dy, learning_rate):  # type: ignore[override]
        dx, dw, db = self.gradients(dy)
        self.w -= learning_rate * dw
        self.b -= learning_rate * db
        return dx


class ByName(Neuron):
    def backward(self, dy):
        dx, dw, db = self.gradients(dy)
        return dx, {"w": dw, "b": db}


class Holding:
    def __init__(self, factor: float = 1.0) -> None:
        self.layers = [Neuron(factor)]

    def forward(self, x):
        return self.layers[0].forward(x)

    def backward(self, dy):
        return self.layers[0].backward(dy)


class Leaky:
    """The slope is learned, though its name may be that of a learning rate."""

    def __init__(self, factor: float = 1.0) -> None:
        self.alpha, self.factor = 0.25, factor

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.alpha * x)

    def backward(self, dy):
        self.dalpha = self.factor * np.sum(dy * self.x * (self.x <= 0))
        return dy * np.where(self.x > 0, 1.0, self.alpha)


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(Neuron, "b"), (Updating, "b"), (ByRate, "b"), (ByName, "b"), (Holding, "layers[0].b"),
     (Leaky, "alpha")],
)  # fmt: skip
def test_a_float_that_an_object_learns_is_differentiated(kind: type, name: str, dtype: str) -> None:
    right = compare.check(kind(), inputs={"x": (4, 3)}, dtype=dtype, shrink=False)
    wrong = compare.check(kind(1.1), inputs={"x": (4, 3)}, dtype=dtype, shrink=False)
    table = wrong.differences

    assert right.agrees, str(right)
    assert f"grad:{name}" in set(right.differences.quantity)
    assert "grad:eps" not in set(right.differences.quantity)
    assert set(table.quantity[table.verdict == "disagree"]) == {f"grad:{name}"}


@pytest.mark.usefixtures("verdict_alone")
def test_a_learned_float_in_no_grad_stays_a_number() -> None:
    report = compare.check(Neuron(1.1), inputs={"x": (4, 3)}, no_grad=["b"], shrink=False)

    assert report.agrees
    assert "grad:b" not in set(report.differences.quantity)
