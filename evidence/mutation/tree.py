"""Syntax trees as the mutations see them: where a node sits, and how it is exchanged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from compare.diagnose.repair.edit import Place

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Edit(NamedTuple):
    """One node exchanged for another; a mutation is one or more of them."""

    place: Place
    new: ast.AST


Edits = tuple[Edit, ...]


@contextmanager
def applied(edits: Edits) -> Iterator[None]:
    """Make the edits, and take them back afterwards: one tree serves all mutants of a module."""
    olds = [edit.place.node for edit in edits]
    for (place, new), old in zip(edits, olds, strict=True):
        for node in ast.walk(new):
            if not hasattr(node, "lineno"):
                ast.copy_location(node, old)
        place.put(new)
    try:
        yield
    finally:
        for edit, old in zip(edits, olds, strict=True):
            edit.place.put(old)


def children(node: ast.AST) -> Iterator[tuple[Place, ast.AST]]:
    """Yield every child with its place."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield Place(node, field, None), value
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield Place(node, field, index), item


def expression(text: str) -> ast.expr:
    """Parse one expression, without positions of its own."""
    return bare(ast.parse(text, mode="eval").body)


def statement(text: str) -> ast.stmt:
    """Parse one statement, without positions of its own."""
    return bare(ast.parse(text).body[0])


def bare(node: Any) -> Any:
    """Take the positions away, so that those of the exchanged node are taken over."""
    for inner in ast.walk(node):
        for name in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
            if hasattr(inner, name):
                delattr(inner, name)
    return node


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove docstrings: they are derivations to read, not formulas to run."""
    for node in ast.walk(tree):
        text = docstring(node)
        if text is not None:
            body = node.body  # type: ignore[attr-defined]
            body[:1] = [] if len(body) > 1 else [ast.copy_location(ast.Pass(), text)]
    return tree


def docstring(node: ast.AST) -> ast.stmt | None:
    """Return the text that a block begins with; None if it begins otherwise."""
    body = getattr(node, "body", None)
    return body[0] if isinstance(body, list) and body and _is_text(body[0]) else None


DESCRIPTIONS = {"equations", "symbols", "examples"}  # of a class: what it says about itself
DESCRIBING = {"variants", "initial", "named"}  # methods that only those read


def without_descriptions(tree: ast.Module) -> ast.Module:
    """Remove what classes say about themselves, and what of the module only that reads."""
    used: set[str] = set()
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in [n for n in owner.body if _describes(n)]:
            used.update(names(node))
            owner.body.remove(node)
        owner.body[:] = owner.body or [ast.copy_location(ast.Pass(), owner)]
    while True:
        spare = [n for n in tree.body if _defined(n) & used and not _read(tree, _defined(n), n)]
        if not spare:
            return _without_imports(tree, used)
        for node in spare:
            used.update(names(node))
            tree.body.remove(node)


def _without_imports(tree: ast.Module, used: set[str]) -> ast.Module:
    """Remove the imports of names that only descriptions used: they may be gone where they were."""
    for node in [n for n in tree.body if isinstance(n, ast.ImportFrom)]:
        node.names[:] = [
            alias for alias in node.names
            if (alias.asname or alias.name) not in used
            or _read(tree, {alias.asname or alias.name}, node)
        ]  # fmt: skip
        if not node.names:
            tree.body.remove(node)
    return tree


def _describes(node: ast.stmt) -> bool:
    return bool(_defined(node) & (DESCRIPTIONS | DESCRIBING))


def _defined(node: ast.stmt) -> set[str]:
    """Return the names that a function or an assignment defines."""
    if isinstance(node, Function):
        return {node.name}
    return set(names(node, ast.Store)) if isinstance(node, ast.Assign | ast.AnnAssign) else set()


def _read(tree: ast.Module, found: set[str], but: ast.stmt) -> bool:
    """Return whether anything else in the module reads one of the names."""
    return any(not found.isdisjoint(names(node)) for node in tree.body if node is not but)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def called(node: ast.AST) -> str:
    """Return the last name of what a call calls (`sum` of `x.sum()`); "" for anything else.

    >>> called(expression("np.sum(x)"))
    'sum'
    """
    if not isinstance(node, ast.Call):
        return ""
    func = node.func
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def names(node: ast.AST, context: type[ast.expr_context] = ast.Load) -> list[str]:
    """Return the names that a node reads (or stores), in the order in which they stand."""
    found = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)]
    return [n.id for n in sorted(found, key=lambda n: (n.lineno, n.col_offset))]
