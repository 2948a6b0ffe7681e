"""Changes of calls: sums and their axes, the order of axes, functions and their twins."""

from __future__ import annotations

import ast
from copy import deepcopy
from typing import Any

from compare.diagnose.repair.edit import Found, Place, parse
from compare.diagnose.repair.names import Names
from compare.diagnose.repair.tree import REDUCTIONS, function_of, is_value, owner_of

TWINS = (
    ("sum", "mean"), ("max", "min"), ("maximum", "minimum"), ("argmax", "argmin"), ("sin", "cos"),
    ("exp", "log"), ("sqrt", "square"), ("var", "std"), ("floor", "ceil"), ("ones", "zeros"),
    ("ones_like", "zeros_like"), ("tanh", "sinh"), ("vstack", "hstack"),
)  # fmt: skip
ORDERS = ("1, 0", "0, 2, 1", "1, 0, 2", "0, 2, 3, 1", "0, 3, 1, 2", "1, 0, 2, 3", "1, 2, 3, 0",
          "3, 0, 1, 2")  # fmt: skip


def reduced(place: Place, names: Names) -> Found:
    """Sum over other axes, average, keep axes, or sum at all."""
    node = place.node
    if isinstance(node, ast.Call) and function_of(node) in REDUCTIONS:
        yield from other_axes(node)
    factor = isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Mult | ast.Div)
    if (factor or is_value(place)) and not isinstance(node, ast.Constant | ast.Tuple):
        for text in ("0", "1", "-1", "None", "(0, 1)", "(0, 2, 3)"):
            yield 2, "missing sum", _summed(node, text, keep=False)
            if text in ("1", "-1", "0"):
                yield 2, "missing sum", _summed(node, text, keep=True)


def _summed(node: Any, axis: str, *, keep: bool) -> Any:
    call = parse(f"a.sum(axis={axis}{', keepdims=True' if keep else ''})")
    call.func.value = node
    return call


def other_axes(node: ast.Call) -> Found:
    """Reduce along other axes, or keep them."""
    for text in ("0", "1", "-1", "2", "None", "(0, 1)", "(0, 2)", "(0, 2, 3)"):
        for keep in (None, True, False):
            new = deepcopy(node)
            owner = owner_of(node)
            new.args = new.args[: 0 if owner is not None else 1]
            kept = [k for k in new.keywords if k.arg not in ("axis", "keepdims")]
            flags = [k for k in new.keywords if k.arg == "keepdims"] if keep is None else [
                ast.keyword("keepdims", ast.Constant(keep))
            ]  # fmt: skip
            new.keywords = [*kept, ast.keyword("axis", parse(text)), *flags]
            if ast.unparse(new) != ast.unparse(node):
                kind = "index" if function_of(node) == "argmax" else "wrong axis"
                if keep is not None and f"axis={text}" in ast.unparse(node):
                    kind = "shape"
                yield 0 if keep is None else 1, kind, new


def functions(place: Place, names: Names) -> Found:
    node = place.node
    if not isinstance(node, ast.Call):
        return
    name = function_of(node)
    for pair in TWINS:
        if name in pair:
            new = deepcopy(node)
            other = pair[1 - pair.index(name)]
            if isinstance(new.func, ast.Attribute):
                new.func.attr = other
            else:
                new.func = ast.Name(other, ast.Load())
            yield 0, "reduction" if name in ("sum", "mean") else "function", new
    if name in ("transpose", "moveaxis", "swapaxes"):
        for i in range(len(node.args)):
            for j in range(i):
                new = deepcopy(node)
                new.args[i], new.args[j] = new.args[j], new.args[i]
                yield 1, "axes", new
    if name == "range":
        yield 1, "index", ast.Call(ast.Name("reversed", ast.Load()), [node], [])
    if name == "reshape" and (owner := owner_of(node)) is not None:
        yield from _reshaped(node, owner)
    if name == "einsum" and isinstance(node.args[0], ast.Constant):
        yield from _subscripts(node)
    if name in ("var", "std"):
        new = deepcopy(node)
        new.keywords = [k for k in new.keywords if k.arg != "ddof"]
        yield 0, "n − 1", new
        new = deepcopy(new)
        new.keywords.append(ast.keyword("ddof", ast.Constant(1)))
        yield 1, "n − 1", new


def _reshaped(node: ast.Call, owner: Any) -> Found:
    if len(node.args) == 2:
        new = deepcopy(node)
        new.args.reverse()
        yield 1, "reshape", ast.Attribute(new, "T", ast.Load())
    for order in ORDERS:
        new = deepcopy(node)
        call = parse(f"a.transpose({order})")
        call.func.value = owner
        new.func.value = call  # type: ignore[attr-defined]
        yield 1, "reshape", new
    yield 1, "shape", owner


def _subscripts(node: ast.Call) -> Found:
    """Exchange two letters of an einsum's output, or of one of its operands."""
    text = node.args[0].value  # type: ignore[attr-defined]
    for i in range(len(text)):
        for j in range(i):
            if text[i].isalpha() and text[j].isalpha() and text[i] != text[j]:
                letters = list(text)
                letters[i], letters[j] = letters[j], letters[i]
                new = deepcopy(node)
                new.args[0] = ast.Constant("".join(letters))
                yield 1, "axes", new
