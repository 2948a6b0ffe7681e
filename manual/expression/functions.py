"""The functions of an expression, each one gate, and the names that they have in text.

Of numbers alone they are numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from manual import gates
from manual.expression.terms import Operand, Term, is_number, term
from manual.graph import Layer


def exp(x: Operand) -> Operand:
    """Return eˣ."""
    return _gate(gates.ExpGate(), x)


def log(x: Operand) -> Operand:
    """Return the logarithm to the base e."""
    return _gate(gates.LogGate(), x)


def sigmoid(x: Operand) -> Operand:
    """Return σ(x) as one gate."""
    return _gate(gates.SigmoidGate(), x)


def tanh(x: Operand) -> Operand:
    """Return tanh x."""
    return _gate(gates.TanhGate(), x)


def sqrt(x: Operand) -> Operand:
    """Return √x, the power ½."""
    return _gate(gates.PowerGate(0.5), x)


def reciprocal(x: Operand) -> Operand:
    """Return 1/x."""
    return _gate(gates.ReciprocalGate(), x)


def summed(x: Operand) -> Operand:
    """Return the sum of all elements; `sum` in text."""
    return _gate(gates.SumGate(), x)


def norm2(x: Operand) -> Operand:
    """Return ‖x‖², the sum of the squares of all elements."""
    return _gate(gates.SquaredNormGate(), x)


def maximum(x: Operand, y: Operand, *more: Operand) -> Operand:
    """Return the largest of two or more, element by element, by gates of two; `max` in text."""
    return reduce(lambda a, b: _gate(gates.MaxGate(), a, b), (x, y, *more))


def _gate(layer: Layer, *operands: Operand) -> Operand:
    if all(map(is_number, operands)):
        with np.errstate(all="ignore"):
            return float(layer.forward(*map(float, operands))[0])
    return Term(layer, tuple(map(term, operands)))


FUNCTIONS: dict[str, Callable[..., Operand]] = {
    "exp": exp, "log": log, "max": maximum, "norm2": norm2, "reciprocal": reciprocal,
    "sigmoid": sigmoid, "sqrt": sqrt, "sum": summed, "tanh": tanh,
}  # fmt: skip
