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
