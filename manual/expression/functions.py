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


def sin(x: Operand) -> Operand:
    """Return sin x, x in radians."""
    return _gate(gates.SinGate(), x)


def cos(x: Operand) -> Operand:
    """Return cos x, x in radians."""
    return _gate(gates.CosGate(), x)


def absolute(x: Operand) -> Operand:
    """Return |x|; `abs` in text."""
    return _gate(gates.AbsGate(), x)


def relu(x: Operand) -> Operand:
    """Return max(x, 0), as a max gate with a constant."""
    return maximum(x, 0.0)


def sqrt(x: Operand) -> Operand:
    """Return √x, the power ½."""
    return _gate(gates.PowerGate(0.5), x)


def reciprocal(x: Operand) -> Operand:
    """Return 1/x."""
    return _gate(gates.ReciprocalGate(), x)


def summed(x: Operand) -> Operand:
    """Return the sum of all elements; `sum` in text."""
    return _gate(gates.SumGate(), x)


def mean(x: Operand) -> Operand:
    """Return the mean of all elements."""
    return _gate(gates.MeanGate(), x)


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
    "abs": absolute, "cos": cos, "exp": exp, "log": log, "max": maximum, "mean": mean,
    "norm2": norm2, "reciprocal": reciprocal, "relu": relu, "sigmoid": sigmoid, "sin": sin,
    "sqrt": sqrt, "sum": summed, "tanh": tanh,
}  # fmt: skip
