"""What a gate does to its arguments harms nobody else, and nothing passes unjudged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from manual import gates
from manual.expression import Expression, expression
from teach.trace import trace


def changed(formula: str, layer: Any, **values: Any) -> Expression:
    found = expression(formula, **values)
    kind = type(layer).__bases__[0]
    return found.with_layers({n.name: layer for n in found.graph.nodes if type(n.layer) is kind})


class Routes(gates.MaxGate):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        x, y = cache
        dx = grad_output
        dx[x < y] = 0  # the next line still needs it
        return (dx, grad_output * (y > x)), {}


class Twice(gates.AddConstantGate):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        grad_output *= 2
        return (grad_output,), {}


class Late(gates.AddConstantGate):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        grad = grad_output.copy()
        grad_output[:] = 0
        return (grad,), {}


class Noisy(gates.ExpGate):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        (grad,), own = super().backward(grad_output, cache)
        return (grad * 1.5 + 1e17 - 1e17,), own


class Doubled(gates.ExpGate):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        (grad,), own = super().backward(grad_output, cache)
        return (2 * grad,), own


X, Y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 5.0])


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        (changed("max(x, y)", Routes(), x=X, y=Y), "hands back to y"),
        (changed("x + 3", Twice(3.0), x=X), "hands back to x"),
        (changed("x + 3", Late(3.0), x=X), "changes its upstream gradient in place"),
    ],
    ids=["routes", "twice", "late"],
)
def test_a_gate_that_writes_into_its_upstream_gradient_is_named(
    formula: Expression, told: str
) -> None:
    found = trace(formula, upstream=[1.0, 1.0, 1.0])

    assert found.verdict == "disagree"
    assert told in str(found.first)
    np.testing.assert_array_equal(found.upstream, [1.0, 1.0, 1.0])


def test_a_gradient_that_rounding_may_have_made_is_not_judged_and_not_agreed() -> None:
    found = trace(changed("exp(x)*y + z", Noisy(), x=0.5, y=3.0, z=1.0))

    assert found.verdict == "incomplete"
    assert "cannot be judged" in str(found)


@pytest.mark.parametrize(("layer", "verdict"), [(None, "agree"), (Doubled(), "disagree")])
def test_numbers_whose_squares_overflow_are_judged(layer: Any, verdict: str) -> None:
    values = {"x": 400.0, "y": 3.0, "z": 1.0}
    formula = "exp(x) * y + z"
    found = trace(formula, values) if layer is None else trace(changed(formula, layer, **values))

    assert found.verdict == verdict
    assert {judged.verdict for judged in found.sums.values()} <= {"agree", verdict}


def test_a_zero_on_both_sides_is_agreed() -> None:
    found = trace("max(x, y) * 2", {"x": 3.0, "y": 1.0})

    assert found.verdict == "agree"
    assert "zero on both sides" in str(found)
