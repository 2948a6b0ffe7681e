"""Changes of whole statements: what is stored, added or overwritten."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from compare.diagnose.repair.edit import Edit, Found, base, each, parse
from compare.diagnose.repair.names import Names
from compare.diagnose.repair.tree import expressions, per_row, times


def of_statement(s: ast.stmt, tree: ast.FunctionDef) -> Found:
    if isinstance(s, ast.Assign) and len(s.targets) == 1:
        target: Any = s.targets[0]
        value = s.value
        if isinstance(target, ast.Subscript) or _stored_before(s, base(target), tree):
            yield 0, "overwritten", ast.AugAssign(target, ast.Add(), value)
            yield 1, "overwritten", ast.AugAssign(target, ast.Sub(), value)
    if isinstance(s, ast.AugAssign):
        target, value = s.target, s.value
        if (call := _added_at(target, value)) is not None:
            yield 0, "overwritten", call
        for kind, op in other_operations(s.op):
            yield 1, kind, ast.AugAssign(target, op, value)
        yield 1, "extra term" if isinstance(s.op, ast.Add | ast.Sub) else "wrong factor", ast.Pass()
        yield 2, "overwritten", ast.Assign([_stored(target)], value)
    if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Subscript):
        if (call := _added_at(s.targets[0], s.value)) is not None:
            yield 1, "overwritten", call
        yield 3, "extra statement", ast.Pass()
        yield 2, "constant", ast.Assign(s.targets, ast.Constant(1))
    yield from _own_places(s)
    if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call):
        yield 2, "clipped" if "clip" in ast.unparse(s) else "extra statement", ast.Pass()


def _own_places(s: ast.stmt) -> Found:
    """Give each row a place of its own: `a[rows, y] = v` for `a[:, y] = v[:, None]`."""
    if isinstance(s, ast.Assign | ast.AugAssign) and ast.unparse(s.value).endswith("[:, None]"):
        whole = isinstance(s, ast.Assign)
        for target in per_row(s.targets[0] if whole else s.target):  # type: ignore[union-attr]
            new: Any = deepcopy(s)
            new.value = new.value.value
            setattr(new, *(("targets", [target]) if whole else ("target", target)))
            yield 0, "index", new


def _added_at(target: ast.expr, value: ast.expr) -> ast.stmt | None:
    """Return `np.add.at(a, index, value)` for `a[index] += value`, if no slice is in the index."""
    if not isinstance(target, ast.Subscript):
        return None
    if any(isinstance(n, ast.Slice) for n in ast.walk(target.slice)):
        return None
    call = parse("np.add.at(0, 0, 0)")
    call.args = [_loaded(target.value), target.slice, value]
    return ast.Expr(call)


def _loaded(node: Any) -> Any:
    node = deepcopy(node)
    node.ctx = ast.Load()
    return node


def _stored_before(s: ast.stmt, name: str, tree: ast.FunctionDef) -> bool:
    """Return whether an earlier statement stores the name, and this one does not read it."""
    earlier = (n for n in ast.walk(tree) if isinstance(n, ast.Assign) and n.lineno < s.lineno)
    reads = any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(s.value))  # type: ignore[attr-defined]
    return not reads and any(
        base(t) == name for n in earlier for target in n.targets for t in each(target)
    )


def other_operations(op: ast.operator) -> Iterator[tuple[str, ast.operator]]:
    match op:
        case ast.Add():
            yield "sign of a term", ast.Sub()
        case ast.Sub():
            yield "sign of a term", ast.Add()
        case ast.Mult():
            yield "wrong factor", ast.Div()
        case ast.Div():
            yield "wrong factor", ast.Mult()


def _stored(target: Any) -> Any:
    target = deepcopy(target)
    target.ctx = ast.Store()
    return target


def strides(s: ast.stmt, names: Names) -> Iterator[Edit]:
    """Multiply every loop variable of a statement: a stride that is ignored."""
    spots = [p for p in expressions(s) if isinstance(p.node, ast.Name) and p.node.id in names.loops]
    if len(spots) < 2 or isinstance(s, ast.For):
        return
    inner = {p.node.id for p in spots if isinstance(p.parent, ast.Slice | ast.BinOp | ast.Tuple)}
    for name in names.numbers() if inner else ():
        scaled = tuple((p, times(p.node, name)) for p in spots if p.node.id in inner)
        yield Edit(2, "index", scaled, s)
