"""What the operators ask of a syntax tree, and small pieces that they build."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from compare.diagnose.repair.edit import Place, parse, places

REDUCTIONS = ("sum", "mean", "max", "min", "argmax", "prod")
MODULES = ("np", "numpy", "np.linalg", "torch", "F", "math", "self")


def expressions(statement: ast.stmt) -> Iterator[Place]:
    """Yield the places of a statement's own expressions, not of the statements in it."""
    for place in places(statement):
        if isinstance(place.node, ast.expr | ast.cmpop | ast.slice) and _owns(statement, place):
            yield place


def _owns(statement: ast.stmt, place: Place) -> bool:
    bodies = [s for field in ("body", "orelse") for s in getattr(statement, field, ())]
    return not any(place.parent is n for s in bodies for n in ast.walk(s))


def function_of(node: ast.Call) -> str:
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def owner_of(node: ast.Call) -> Any:
    """Return the array that a method is called on; None for a function of NumPy."""
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) not in MODULES:
        return node.func.value
    return None


def is_term(place: Place) -> bool:
    return isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Add | ast.Sub)


def is_value(place: Place) -> bool:
    """Return whether this is a whole right-hand side, returned gradient, term or argument."""
    if isinstance(place.node, ast.Tuple | ast.Starred | ast.Slice):
        return False
    if isinstance(place.parent, ast.Assign | ast.AugAssign | ast.Return):
        return place.field == "value"
    if isinstance(place.parent, ast.Attribute):
        return place.parent.attr in (*REDUCTIONS, "reshape", "dot", "transpose") and (
            ast.unparse(place.node) not in MODULES
        )
    if isinstance(place.parent, ast.Subscript):
        return place.field == "value" and isinstance(place.parent.ctx, ast.Load)
    if isinstance(place.parent, ast.Tuple):
        return isinstance(place.parent.ctx, ast.Load) and not _is_index(place)
    return (
        is_term(place) or (isinstance(place.parent, ast.Call) and place.field == "args")
    ) and isinstance(place.node, ast.expr)


def _is_index(place: Place) -> bool:
    return isinstance(place.node, ast.Slice | ast.Constant)


def in_index(place: Place) -> bool:
    inside = isinstance(place.parent, ast.Subscript) and place.field == "slice"
    return (
        inside
        or isinstance(place.parent, ast.Slice)
        or (isinstance(place.parent, ast.Call) and function_of(place.parent) == "range")
    )


def turned(node: Any) -> Any:
    """Return a matrix transposed: without its `.T` if it has one."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return node.value
    if isinstance(node, ast.UnaryOp):
        return ast.UnaryOp(node.op, turned(node.operand))
    return ast.Attribute(node, "T", ast.Load())


def times(node: Any, name: str) -> ast.BinOp:
    return ast.BinOp(node, ast.Mult(), parse(name))


def over(node: Any, name: str) -> ast.BinOp:
    return ast.BinOp(node, ast.Div(), parse(name))


def per_row(node: ast.AST) -> Iterator[ast.Subscript]:
    """Yield `a[np.arange(len(y)), y]` for `a[y]` and `a[:, y]`."""
    if not isinstance(node, ast.Subscript):
        return
    index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    column, rows = index[-1], index[:-1]
    if isinstance(column, ast.Slice | ast.Constant) or len(rows) > 1:
        return
    if not rows or isinstance(rows[0], ast.Slice):
        new = deepcopy(node)
        count = parse(f"np.arange(len({ast.unparse(column)}))")
        new.slice = ast.Tuple([count, column], ast.Load())
        yield new
