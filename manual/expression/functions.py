"""The functions of an expression, each one gate, and the names that they have in text."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from manual import gates
from manual.expression.terms import Operand, Term, term
from manual.graph import Layer


def exp(x: Operand) -> Term:
    """Return eˣ."""
    return _gate(gates.ExpGate(), x)


def log(x: Operand) -> Term:
    """Return the logarithm to the base e."""
    return _gate(gates.LogGate(), x)


def sigmoid(x: Operand) -> Term:
    """Return σ(x) as one gate."""
    return _gate(gates.SigmoidGate(), x)


def tanh(x: Operand) -> Term:
    """Return tanh x."""
    return _gate(gates.TanhGate(), x)


def sqrt(x: Operand) -> Term:
    """Return √x, the power ½."""
    return _gate(gates.PowerGate(0.5), x)


def reciprocal(x: Operand) -> Term:
    """Return 1/x."""
    return _gate(gates.ReciprocalGate(), x)


def summed(x: Operand) -> Term:
    """Return the sum of all elements; `sum` in text."""
    return _gate(gates.SumGate(), x)


def norm2(x: Operand) -> Term:
    """Return ‖x‖², the sum of the squares of all elements."""
    return _gate(gates.SquaredNormGate(), x)


def maximum(*xs: Operand) -> Term:
    """Return the largest of two or more, element by element, by gates of two; `max` in text."""
    return reduce(lambda x, y: _gate(gates.MaxGate(), x, y), map(term, xs))


def _gate(layer: Layer, *operands: Operand) -> Term:
    return Term(layer, tuple(map(term, operands)))


FUNCTIONS: dict[str, Callable[..., Term]] = {
    "exp": exp, "log": log, "max": maximum, "norm2": norm2, "reciprocal": reciprocal,
    "sigmoid": sigmoid, "sqrt": sqrt, "sum": summed, "tanh": tanh,
}  # fmt: skip
