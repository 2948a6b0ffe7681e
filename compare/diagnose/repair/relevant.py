"""Which statements of a function a returned gradient depends on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from compare.diagnose.repair.edit import base


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
        more = {s for s in body if s not in found and needed & _written(s)}
        if not more:
            return found
        found |= more
        needed |= {name for s in more for name in _read(s)}


def _read(node: ast.AST) -> Iterator[str]:
    for n in ast.walk(node):
        if isinstance(n, ast.Name | ast.Attribute):
            yield ast.unparse(n)


def _written(s: ast.stmt) -> set[str]:
    """Return what a statement stores; a call may write into what it is given."""
    match s:
        case ast.Assign(targets=targets):
            return {base(t) for target in targets for t in _each(target)}
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return {base(target)}
        case ast.Expr(value=ast.Call() as call):
            return {base(a) for a in call.args} | {base(k.value) for k in call.keywords}
        case ast.For() | ast.If() | ast.With():
            inside = [n for b in (s.body, getattr(s, "orelse", [])) for n in b]
            own = {base(t) for t in _each(s.target)} if isinstance(s, ast.For) else set()
            return own | {name for n in inside for name in _written(n)}
    return set()


def _each(target: ast.AST) -> list[ast.AST]:
    return list(target.elts) if isinstance(target, ast.Tuple | ast.List) else [target]
