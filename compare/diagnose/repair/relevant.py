"""Which statements of a function a returned gradient depends on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from compare.diagnose.repair.edit import base, each

Compound = ast.For | ast.If | ast.With | ast.Try


def relevant(tree: ast.FunctionDef, wanted: int | None, width: int) -> set[ast.stmt]:
    """Return the statements that the `wanted`-th of `width` returned values depends on.

    All of them, if `wanted` is None or it is not to be seen where the values are returned.
    """
    body = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n is not tree]
    returns = [n for n in body if isinstance(n, ast.Return)]
    values = returns[-1].value if returns else None
    parts = list(values.elts) if isinstance(values, ast.Tuple) else []
    if wanted is None or len(returns) != 1 or len(parts) not in (width, width + 1):
        return set(body)
    found: set[ast.stmt] = set(returns)
    needed = set(_read(parts[wanted - width]))
    while True:
        more = {s for s in body if s not in found and _matters(s, needed, found)}
        if not more:
            return found
        found |= more
        needed |= {name for s in more for name in _own_reads(s)}


def _matters(s: ast.stmt, needed: set[str], found: set[ast.stmt]) -> bool:
    """Return whether a statement stores what is needed, or holds one that does."""
    if isinstance(s, Compound):
        return any(n in found for n in ast.walk(s))
    return bool(needed & _written(s))


def _own_reads(s: ast.stmt) -> Iterator[str]:
    match s:
        case ast.For(iter=head) | ast.If(test=head):
            yield from _read(head)
        case ast.With() | ast.Try():
            return
        case _:
            yield from _read(s)


def _read(node: ast.AST) -> Iterator[str]:
    for n in ast.walk(node):
        if isinstance(n, ast.Name | ast.Attribute):
            yield ast.unparse(n)


def _written(s: ast.stmt) -> set[str]:
    """Return what a statement stores; a call may write into what it is given."""
    match s:
        case ast.Assign(targets=targets):
            return {base(t) for target in targets for t in each(target)}
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return {base(target)}
        case ast.Expr(value=ast.Call() as call):
            return {base(a) for a in call.args} | {base(k.value) for k in call.keywords}
    return set()
