"""Mistakes in decisions and order: `>=` for `>`, a branch left out, two lines exchanged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from evidence.mutation.operators.base import Found, operator, replaces, rewrites
from evidence.mutation.scope import Scope, is_guard
from evidence.mutation.tree import Edit, Place, called, names

operator("boundary", ">= for >, < for <=")
operator("condition", "a condition is turned around, or half of it dropped")
operator("branch", "a conditional branch is dropped or always taken")
operator("order", "two dependent lines are exchanged, or a sequence is not reversed")

BOUNDARY = {ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt}
REVERSED = {
    ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
CHOICES = {"where", "blend"}


@replaces("boundary", ast.Compare)
def include_border(node: ast.Compare, scope: Scope) -> Iterator[ast.AST]:
    yield from _with_operator(node, BOUNDARY)


@replaces("condition", ast.Compare)
def turn_around(node: ast.Compare, scope: Scope) -> Iterator[ast.AST]:
    yield from _with_operator(node, REVERSED)


def _with_operator(node: ast.Compare, table: dict) -> Iterator[ast.AST]:
    if len(node.ops) == 1 and type(node.ops[0]) in table:
        yield ast.Compare(node.left, [table[type(node.ops[0])]()], node.comparators)


@replaces("condition", ast.UnaryOp)
def drop_not(node: ast.UnaryOp, scope: Scope) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.Invert):
        yield node.operand


@replaces("condition", ast.BoolOp)
def drop_half(node: ast.BoolOp, scope: Scope) -> Iterator[ast.AST]:
    yield from node.values
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield ast.BoolOp(other, node.values)


@replaces("branch", ast.IfExp)
def one_branch(node: ast.IfExp, scope: Scope) -> Iterator[ast.AST]:
    yield node.body
    yield node.orelse


@replaces("branch", ast.If)
def always_or_never(node: ast.If, scope: Scope) -> Iterator[ast.AST]:
    for taken in (True, False):
        if taken or node.orelse or not all(map(is_guard, node.body)):
            yield ast.If(ast.Constant(taken), node.body, node.orelse)


@replaces("branch", ast.Call)
def one_choice(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    """where(c, a, b) -> where(c, b, a); either side alone."""
    if called(node) in CHOICES and len(node.args) == 3:
        condition, a, b = node.args
        yield ast.Call(node.func, [condition, b, a], [])
        yield a
        yield b


@replaces("order", ast.Call)
def not_reversed(node: ast.Call, scope: Scope) -> Iterator[ast.AST]:
    if called(node) == "reversed":
        yield node.args[0]


@rewrites("order")
def exchange_lines(scope: Scope) -> Iterator[Found]:
    """Exchange neighbouring assignments of which one reads or changes what the other sets."""
    for owner, field, block in scope.blocks():
        for i, (first, second) in enumerate(pairwise(block)):
            if _is_assignment(first) and _is_assignment(second) and _depend(first, second):
                edits = (
                    Edit(Place(owner, field, i), second),
                    Edit(Place(owner, field, i + 1), first),
                )
                yield first.lineno, edits


def _is_assignment(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AugAssign)


def _depend(first: ast.stmt, second: ast.stmt) -> bool:
    if _commute(first, second):
        return False
    sets, reads = [_sets(s) for s in (first, second)], [_reads(s) for s in (first, second)]
    return bool(sets[0] & (reads[1] | sets[1]) or sets[1] & reads[0])


def _sets(node: ast.stmt) -> set[str]:
    """Names that a statement sets, or of which it sets an item."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]  # type: ignore[attr-defined]
    items = {n for t in targets if isinstance(t, ast.Subscript) for n in names(t.value)}
    return items | {n for t in targets for n in names(t, ast.Store)}


def _reads(node: ast.stmt) -> set[str]:
    """Names that a statement reads, without the variables of its comprehensions."""
    own = {n for c in ast.walk(node) if isinstance(c, ast.comprehension)
           for n in names(c.target, ast.Store)}  # fmt: skip
    return (set(names(node)) | (_sets(node) if isinstance(node, ast.AugAssign) else set())) - own


def _commute(first: ast.stmt, second: ast.stmt) -> bool:
    """Two terms added to, or two factors multiplied into, the same value: any order will do."""
    if not (isinstance(first, ast.AugAssign) and isinstance(second, ast.AugAssign)):
        return False
    kinds = [isinstance(s.op, ast.Add | ast.Sub) for s in (first, second)]
    return kinds[0] == kinds[1] and ast.dump(first.target) == ast.dump(second.target)
