"""Computational graphs from formulas: parsed from text, or composed in Python."""

from __future__ import annotations

from manual.expression.evaluated import Expression, expression
from manual.expression.functions import (
    absolute,
    cos,
    exp,
    log,
    maximum,
    mean,
    norm2,
    reciprocal,
    relu,
    sigmoid,
    sin,
    sqrt,
    summed,
    tanh,
)
from manual.expression.parser import ExpressionError, parse
from manual.expression.terms import Term, variables

__all__ = [
    "Expression",
    "ExpressionError",
    "Term",
    "absolute",
    "cos",
    "exp",
    "expression",
    "log",
    "maximum",
    "mean",
    "norm2",
    "parse",
    "reciprocal",
    "relu",
    "sigmoid",
    "sin",
    "sqrt",
    "summed",
    "tanh",
    "variables",
]
