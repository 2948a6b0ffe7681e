"""Every change of a function that mends a usual mistake, most likely first."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from compare.diagnose.repair.algebra import (
    compared,
    constants,
    epsilon_moved,
    more_factors,
    products,
    removed,
    several_removed,
    signs,
    single,
    wrapped,
)
from compare.diagnose.repair.calls import functions, other_axes, reduced
from compare.diagnose.repair.edit import Edit, Place, places
from compare.diagnose.repair.indices import exchanged, indexed, renamed
from compare.diagnose.repair.names import Names
from compare.diagnose.repair.relevant import relevant
from compare.diagnose.repair.statements import of_statement, strides
from compare.diagnose.repair.tree import REDUCTIONS, expressions, function_of, times


def edits(tree: ast.FunctionDef, names: Names, wanted: int | None, width: int) -> list[Edit]:
    """Return every change of a function, most likely first.

    Args:
        tree: the function.
        names: its variables.
        wanted: which of `width` returned gradients is wrong; None for all, or nobody knows.
    """
    statements = relevant(tree, wanted, width)
    found: list[Edit] = []
    for holder in places(tree):
        if isinstance(holder.node, ast.stmt) and holder.node in statements:
            found += _of_statement(holder, names, tree)
    found += _everywhere(tree, names, statements)
    return sorted(found, key=lambda edit: edit.rank)


def _everywhere(tree: ast.FunctionDef, names: Names, statements: set[ast.stmt]) -> Iterator[Edit]:
    """Change every mean into a sum, every use of one variable into another."""
    spots = [p for s in places(tree) if s.node in statements for p in expressions(s.node)]
    whole: dict[tuple[str, str], list[tuple[Place, Any]]] = {}
    for p in spots:
        if isinstance(p.node, ast.Call) and (name := function_of(p.node)) in ("sum", "mean"):
            for _, kind, new in functions(p, names):
                whole.setdefault((kind, name), []).append((p, new))
        if isinstance(p.node, ast.Name) and p.node.id in names and _is_read(p):
            for other in names.like(p.node.id):
                key = ("another variable", f"{p.node.id} {other}")
                whole.setdefault(key, []).append((p, ast.Name(other, ast.Load())))
    for (kind, _), changes in whole.items():
        if len(changes) > 1:
            yield Edit(2, kind, tuple(changes), _statement_of(changes[0][0], tree))


def _throughout(statement: Any, names: Names) -> Iterator[Edit]:
    """Change all sums of a statement alike, or multiply all its uses of one variable."""
    whole: dict[tuple[int, str, str], list[tuple[Place, Any]]] = {}
    for p in expressions(statement):
        if isinstance(p.node, ast.Call) and function_of(p.node) in REDUCTIONS:
            for _, kind, new in other_axes(p.node):
                axes = ", ".join(map(ast.unparse, new.keywords))
                whole.setdefault((2, kind, axes), []).append((p, new))
        if isinstance(p.node, ast.Name) and p.node.id in names and _is_read(p):
            for other in names.factors():
                key = (3, "wrong factor", f"{p.node.id} {other}")
                whole.setdefault(key, []).append((p, times(p.node, other)))
    for (rank, kind, _), changes in whole.items():
        if len(changes) > 1:
            yield Edit(rank, kind, tuple(changes), statement)


def _is_read(place: Place) -> bool:
    return isinstance(place.node.ctx, ast.Load) and place.field != "func"


def _statement_of(place: Place, tree: ast.FunctionDef) -> ast.stmt:
    """Return the innermost statement that holds a place."""
    found = [s for s in ast.walk(tree) if isinstance(s, ast.stmt) and s is not tree
             and any(n is place.node for n in ast.walk(s))]  # fmt: skip
    return found[-1]


def _of_statement(holder: Place, names: Names, tree: ast.FunctionDef) -> Iterator[Edit]:
    statement = holder.node
    for rank, kind, new in of_statement(statement, tree):
        yield Edit(rank, kind, ((holder, new),), statement)
    yield from strides(statement, names)
    yield from _throughout(statement, names)
    for place in expressions(statement):
        for operator in OPERATORS:
            for rank, kind, new in operator(place, names):
                yield Edit(rank, kind, ((place, new),), statement)


OPERATORS: tuple[Callable[[Place, Names], Iterable], ...] = (
    signs, products, removed, several_removed, compared, reduced, functions, constants, indexed,
    more_factors, epsilon_moved, wrapped, exchanged, renamed, single,
)  # fmt: skip
