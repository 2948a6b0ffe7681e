"""Computational graphs from formulas: parsed from text, or composed in Python."""

from __future__ import annotations

from manual.expression.evaluated import Expression, expression
from manual.expression.functions import (
    exp,
    log,
    maximum,
    norm2,
    reciprocal,
    sigmoid,
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
    "exp",
    "expression",
    "log",
    "maximum",
    "norm2",
    "parse",
    "reciprocal",
    "sigmoid",
    "sqrt",
    "summed",
    "tanh",
    "variables",
]
