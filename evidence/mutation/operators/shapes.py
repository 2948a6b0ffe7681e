"""Mistakes in shapes: a transpose, the axis of a sum, what a mean divides by, the batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evidence.mutation.operators.base import operator, replaces
from evidence.mutation.scope import Scope
from evidence.mutation.tree import called, expression

operator("transpose", "a transpose is dropped or added, or the factors of a product change places")
operator("sum", "a sum is dropped, or a mean taken instead")
operator("axis", "a sum or maximum runs along another axis")
operator("reduction", "the division by N of a mean is dropped")
operator("count", "n - 1 for n, or another size for the number of elements")

REDUCED = {"sum", "mean", "max", "min", "argmax"}


@replaces("transpose", ast.Attribute)
def drop_transpose(node: ast.Attribute, scope: Scope) -> Iterator[ast.AST]:
    if node.attr == "T":
        yield node.value


@replaces("transpose", ast.BinOp)
def transpose_product(node: ast.BinOp, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.MatMult):
        left, right = node.left, node.right
        yield ast.BinOp(right, ast.MatMult(), left)
        if not _is_transposed(left):
            yield ast.BinOp(_transposed(left), ast.MatMult(), right)
        if not _is_transposed(right):
            yield ast.BinOp(left, ast.MatMult(), _transposed(right))


def _transposed(node: ast.expr) -> ast.expr:
    return ast.Attribute(node, "T", ast.Load())


def _is_transposed(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "T"


@replaces("sum", ast.Call)
def drop_sum(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    name, summed = called(node), _reduced(node)
    if name in ("sum", "mean") and summed is not None:
        yield summed
        if isinstance(node.func, ast.Attribute):
            other = "mean" if name == "sum" else "sum"
            func = ast.Attribute(node.func.value, other, ast.Load())
            yield ast.Call(func, node.args, node.keywords)
    elif name == "row_sum":
        yield expression(f"({ast.unparse(node)}) / {ast.unparse(node.args[0])}.shape[1]")


def _reduced(node: ast.Call) -> ast.expr | None:
    """Return what is summed: x in `x.sum()` and in `np.sum(x)`."""
    if not isinstance(node.func, ast.Attribute):
        return None
    is_numpy = getattr(node.func.value, "id", "") == "np"
    return node.args[0] if is_numpy and node.args else node.func.value


@replaces("axis", ast.Call)
def move_axis(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    """axis=0 -> axis=-1, axis=k -> axis=0, `keepdims` dropped; a full sum loses an axis."""
    if called(node) not in REDUCED:
        return
    given = {k.arg: k.value for k in node.keywords}
    if "axis" not in given:
        if called(node) in ("sum", "mean") and isinstance(node.func, ast.Attribute):
            yield _with(node, axis=ast.Constant(0))
        return
    yield _with(node, axis=ast.Constant(-1 if ast.unparse(given["axis"]) == "0" else 0))
    if not isinstance(given["axis"], ast.Constant | ast.UnaryOp):
        yield _with(node, axis=ast.Constant(-1))
    if "keepdims" in given:
        keywords = [k for k in node.keywords if k.arg != "keepdims"]
        yield ast.Call(node.func, node.args, keywords)


def _with(node: ast.Call, **arguments: ast.expr) -> ast.Call:
    given = {k.arg: k.value for k in node.keywords} | arguments
    return ast.Call(node.func, node.args, [ast.keyword(k, v) for k, v in given.items()])


@replaces("axis", ast.keyword)
def move_other_axis(node: ast.keyword, scope: Scope) -> Iterator[ast.AST]:
    """`axis=self.dim` of np.split and np.concatenate -> 0."""
    if node.arg == "axis" and isinstance(node.value, ast.Attribute):
        yield ast.keyword("axis", ast.Constant(0))


@replaces("reduction", ast.Call)
def drop_division(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    if called(node) == "reduced":
        yield node.args[0]


@replaces("count", ast.Call, ast.Attribute, ast.Subscript, ast.Name)
def one_fewer(node: ast.expr, scope: Scope) -> Iterator[ast.AST]:
    """N -> N - 1; a count of elements -> the length of the first axis, or of the last."""
    text = ast.unparse(node)
    is_len = called(node) == "len" and isinstance(node, ast.Call)
    is_size = isinstance(node, ast.Attribute) and node.attr == "size"
    is_side = isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".shape")
    divisor = isinstance(node, ast.Name) and node.id in ("divisor", "count", "classes")
    is_divisor = divisor or (isinstance(node, ast.Attribute) and node.attr == "divisor")
    if isinstance(getattr(node, "ctx", ast.Load()), ast.Store):
        return
    if is_len or is_size or is_divisor or (is_side and not isinstance(node.slice, ast.Slice)):  # type: ignore[attr-defined]
        yield expression(f"{text} - 1")
        yield expression(f"{text} + 1")
    if is_size:
        yield expression(f"{text.removesuffix('.size')}.shape[0]")
        yield expression(f"{text.removesuffix('.size')}.shape[-1]")
