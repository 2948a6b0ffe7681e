"""Mistakes in a formula's algebra: a term or factor lost, a sign, a quotient upside down."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evidence.mutation.operators.base import operator, replaces
from evidence.mutation.scope import Scope
from evidence.mutation.tree import called

operator("term", "a term of a sum, or a factor of a product or of the chain rule, is dropped")
operator("sign", "a sign is flipped, or a difference turned around")
operator("inverse", "multiplied instead of divided, or the other way round")
operator("accumulate", "a value is overwritten where it should be added to")
operator("function", "a function is left out, or a relative takes its place (exp, expm1)")
operator("extremum", "maximum for minimum, argmax for argmin")
operator("factor", "a result is off by 2, by 1/2, or by the batch size N")

SUMS, PRODUCTS = (ast.Add, ast.Sub), (ast.Mult, ast.Div)
RELATIVES = {
    "exp": "expm1", "expm1": "exp", "log": "log1p", "log1p": "log", "tanh": "sin",
    "abs": "square", "absolute": "square", "square": "abs", "sign": "abs",
    "zeros_like": "ones_like", "ones_like": "zeros_like",
}  # fmt: skip
OPPOSITES = {
    "maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max",
    "argmax": "argmin", "argmin": "argmax",
}  # fmt: skip
NO_FORMULAS = {  # conversions, and what iterates
    "len", "isinstance", "super", "range", "cast", "zip", "sum", "any", "all", "enumerate", "map",
    "float", "int", "tuple", "list", "set", "frozenset",
}  # fmt: skip


@replaces("term", ast.BinOp)
def drop_operand(node: ast.BinOp, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, SUMS):
        yield node.left
        negative = isinstance(node.op, ast.Sub)
        yield ast.UnaryOp(ast.USub(), node.right) if negative else node.right
    elif isinstance(node.op, ast.Mult | ast.Pow | ast.BitAnd):
        yield node.left
        if not isinstance(node.op, ast.Pow):
            yield node.right
    elif isinstance(node.op, ast.Div):
        yield node.left
        if not isinstance(node.left, ast.Constant):
            yield ast.BinOp(ast.Constant(1), ast.Div(), node.right)


@replaces("term", ast.AugAssign)
def drop_update(node: ast.AugAssign, scope: Scope) -> Iterator[ast.AST]:
    yield ast.Pass()


@replaces("sign", ast.BinOp)
def flip(node: ast.BinOp, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Add):
        yield ast.BinOp(node.left, ast.Sub(), node.right)
    elif isinstance(node.op, ast.Sub):
        yield ast.BinOp(node.left, ast.Add(), node.right)
        yield ast.BinOp(node.right, ast.Sub(), node.left)


@replaces("sign", ast.UnaryOp)
def drop_minus(node: ast.UnaryOp, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield node.operand


@replaces("sign", ast.AugAssign)
def flip_update(node: ast.AugAssign, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, SUMS):
        op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield ast.AugAssign(node.target, op, node.value)


@replaces("inverse", ast.BinOp)
def invert(node: ast.BinOp, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, PRODUCTS):
        op = ast.Div() if isinstance(node.op, ast.Mult) else ast.Mult()
        yield ast.BinOp(node.left, op, node.right)


@replaces("inverse", ast.AugAssign)
def invert_update(node: ast.AugAssign, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, PRODUCTS):
        op = ast.Div() if isinstance(node.op, ast.Mult) else ast.Mult()
        yield ast.AugAssign(node.target, op, node.value)


@replaces("accumulate", ast.AugAssign)
def overwrite(node: ast.AugAssign, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, SUMS):
        yield ast.Assign([node.target], node.value)


@replaces("function", ast.Call)
def leave_out(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    """f(x) -> x, for NumPy's functions, lower-case helpers and `x.copy()`."""
    name = called(node)
    if isinstance(node.func, ast.Attribute) and name == "copy" and not node.args:
        yield node.func.value
    elif _is_function(node) and name[:1].islower() and name not in NO_FORMULAS:
        yield from (a for a in node.args[:2] if not isinstance(a, ast.Starred | ast.Constant))


@replaces("function", ast.Call)
def take_relative(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    yield from _renamed(node, RELATIVES)


@replaces("extremum", ast.Call)
def take_opposite(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    yield from _renamed(node, OPPOSITES)


def _renamed(node: ast.Call, table: dict[str, str]) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Attribute) and node.func.attr in table:
        func = ast.Attribute(node.func.value, table[node.func.attr], ast.Load())
        yield ast.Call(func, node.args, node.keywords)


def _is_function(node: ast.Call) -> bool:
    """Whether a function is called, of NumPy's or a helper, and not a method."""
    func = node.func
    of_library = isinstance(func, ast.Attribute) and getattr(func.value, "id", "") in ("np", "math")
    return of_library or isinstance(func, ast.Name)


@replaces("factor", ast.Return)
def scale(node: ast.Return, scope: Scope) -> Iterator[ast.AST]:
    """Return 2 r, r/2 and N r: of each array that a function returns."""
    factors: list[ast.expr] = [ast.Constant(2), ast.Constant(0.5)]
    if "grad_output" in scope.arguments:
        factors.append(ast.Call(ast.Name("len", ast.Load()), [_name("grad_output")], []))
    if node.value is not None and _returns_arrays(scope):
        for factor in factors:
            yield from (ast.Return(value) for value in _scaled(node.value, factor))


def _scaled(value: ast.expr, factor: ast.expr) -> Iterator[ast.expr]:
    """Scale one array of a returned nest of tuples and dicts at a time."""
    if isinstance(value, ast.Tuple | ast.List):
        for i, item in enumerate(value.elts):
            for new in _scaled(item, factor):
                elts = [*value.elts[:i], new, *value.elts[i + 1 :]]
                yield ast.Tuple(elts, ast.Load())
    elif isinstance(value, ast.Name | ast.BinOp | ast.Subscript | ast.UnaryOp | ast.IfExp) or (
        isinstance(value, ast.Call) and called(value)[:1].islower() and called(value) != "tuple"
    ):
        yield ast.BinOp(factor, ast.Mult(), value)


def _returns_arrays(scope: Scope) -> bool:
    returns = ast.unparse(getattr(scope.node, "returns", None) or ast.Constant(""))
    return "Array" in returns and not scope.name.endswith(".decisions")


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())
