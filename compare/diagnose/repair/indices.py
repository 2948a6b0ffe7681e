"""Changes of indices and slices, of the order of a tuple, and of names."""

from __future__ import annotations

import ast
from copy import deepcopy

from compare.diagnose.repair.edit import Found, Place, parse
from compare.diagnose.repair.names import Names
from compare.diagnose.repair.tree import MODULES, function_of, in_index, is_value, per_row


def indexed(place: Place, names: Names) -> Found:
    """Index each row at its own column, reversed, or with one more axis."""
    node = place.node
    for new_index in per_row(node):
        yield 0, "index", new_index
    if isinstance(node, ast.Subscript) and any(isinstance(n, ast.Slice) for n in ast.walk(node)):
        yield from _trimmed(node, names)
    if isinstance(node, ast.Slice) and isinstance(node.step, ast.UnaryOp):
        yield 1, "axes", ast.Slice(node.lower, node.upper, None)
    whole = isinstance(node, ast.Name | ast.Subscript | ast.Call) and isinstance(
        getattr(node, "ctx", ast.Load()), ast.Load
    )
    if whole and (is_value(place) or isinstance(place.parent, ast.BinOp)):
        for text in ("[::-1]", "[..., ::-1]", "[..., ::-1, ::-1]"):
            new = parse(f"a{text}")
            new.value = node
            yield 1, "axes", new
        for text in ("[:, None]", "[None, :]"):
            new = parse(f"a{text}")
            new.value = node
            yield 3, "shape", new
        for name in names.numbers() if isinstance(place.parent, ast.Assign | ast.Tuple) else ():
            new = parse(f"a[..., {name}:-{name}, {name}:-{name}]")
            new.value = node
            yield 1, "index", new


def _trimmed(node: ast.Subscript, names: Names) -> Found:
    """Cut the same margin off both ends of every axis that is sliced."""
    index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for name in names.numbers():
        margin = parse(f"a[{name}:-{name}]").slice
        cut = [margin if isinstance(i, ast.Slice) and (i.lower or i.upper) else i for i in index]
        new = deepcopy(node)
        new.slice = ast.Tuple(cut, ast.Load()) if len(cut) > 1 else cut[0]
        yield 1, "index", new


def exchanged(place: Place, names: Names) -> Found:
    """Exchange two elements of a tuple, or the arguments of a call."""
    node = place.node
    if isinstance(node, ast.Tuple) and len(node.elts) < 12:
        inside = isinstance(place.parent, ast.Subscript)
        stored = isinstance(node.ctx, ast.Store)
        kind = "index" if inside else "another variable" if stored else "another tensor"
        for i in range(len(node.elts)):
            for j in range(i):
                new = deepcopy(node)
                new.elts[i], new.elts[j] = new.elts[j], new.elts[i]
                rank = 2 if inside else 0 if isinstance(place.parent, ast.Return) else 1
                yield rank, kind, new
    if isinstance(node, ast.Call) and len(node.args) == 3 and function_of(node) == "where":
        call = deepcopy(node)
        call.args[1], call.args[2] = call.args[2], call.args[1]
        yield 0, "condition", call
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div):
        yield (
            1,
            "sign" if isinstance(node.op, ast.Sub) else "wrong factor",
            ast.BinOp(node.right, node.op, node.left),
        )


def renamed(place: Place, names: Names) -> Found:
    """Use another variable."""
    node = place.node
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and not in_index(place):
        for name in names.factors():
            yield 3, "another variable", parse(name)
        return
    if ast.unparse(node).endswith(".size") or ast.unparse(node).startswith("len("):
        for name in names.numbers():
            yield 1, "size", parse(name)
        return
    named = isinstance(node, ast.Name) or ast.unparse(node) in names
    if not named or not isinstance(getattr(node, "ctx", None), ast.Load):
        return
    if place.field == "func" or ast.unparse(node) in MODULES:
        return
    for name in names.like(ast.unparse(node)):
        yield 2, "another variable", parse(name)
