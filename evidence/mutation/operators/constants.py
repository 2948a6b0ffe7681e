"""Mistakes in numbers: a wrong default, exponent, factor or index; a switch the wrong way."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evidence.mutation.operators.base import operator, replaces
from evidence.mutation.scope import Scope
from evidence.mutation.tree import called

operator("constant", "a number or a default is wrong: ten times, half, one more, one less, not")

WORDS = {"mean": "sum", "sum": "mean", "none": "tanh", "fan_in": "fan_out", "fan_out": "fan_in",
         "leaky_relu": "relu"}  # fmt: skip


@replaces("constant", ast.Constant)
def other_number(node: ast.Constant, scope: Scope) -> Iterator[ast.AST]:
    value = node.value
    if _is_placeholder(node, scope):
        return
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield from map(ast.Constant, (value + 1, value - 1))
    elif isinstance(value, float):
        others = (10 * value, value / 2) if value else (1.0, 0.5)
        yield from map(ast.Constant, others)


@replaces("constant", ast.Constant)
def other_default(node: ast.Constant, scope: Scope) -> Iterator[ast.AST]:
    """`reduction="mean"` -> "sum" and the like, where the word is a parameter's default."""
    defaults = getattr(getattr(scope.node, "args", None), "defaults", [])
    if any(node is d for d in defaults) and isinstance(node.value, str) and node.value in WORDS:
        yield ast.Constant(WORDS[node.value])


def _is_placeholder(node: ast.Constant, scope: Scope) -> bool:
    """Whether it is the -1 of `reshape(-1, n)`, for which NumPy takes any negative number."""
    minus = scope.parents.get(node)
    return isinstance(minus, ast.UnaryOp) and called(scope.parents[minus]) == "reshape"
