"""Changes of signs, factors, terms, powers, constants, conditions and functions."""

from __future__ import annotations

import ast
import math
from copy import deepcopy
from functools import reduce
from itertools import combinations
from typing import Any

from compare.diagnose.repair.edit import Found, Place, parse
from compare.diagnose.repair.names import Names
from compare.diagnose.repair.statements import other_operations
from compare.diagnose.repair.tree import (
    function_of,
    in_index,
    is_term,
    is_value,
    over,
    owner_of,
    times,
    turned,
)

KNOWN = (
    0.044715, 0.134145, math.pi, math.e, math.sqrt(2), math.sqrt(0.5), math.sqrt(2 / math.pi),
    1 / math.sqrt(2 * math.pi), math.log(2), 1 / 3, 1 / 6, 2 / 3, 1.702, 0.01,
    1.0507009873554804934193349852946, 1.6732632423543772848170429916717,
)  # fmt: skip
EPSILONS = (1e-5, 1e-8, 1e-12, 1e-6, 1e-7)
WRAPPERS = ("clip", "astype", "abs", "round", "sign", "sqrt", "exp", "tanh", "log", "squeeze",
            "maximum", "minimum", "mean", "sum", "flip", "copy")  # fmt: skip


def signs(place: Place, names: Names) -> Found:
    node = place.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield 0, "axes" if in_index(place) else sign_kind(place), node.operand
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        (kind, op), *_ = other_operations(node.op)
        yield 0, kind, ast.BinOp(node.left, op, node.right)
        yield 1, "sign", ast.UnaryOp(ast.USub(), node)
    elif is_value(place) and not isinstance(node, ast.Constant):
        yield 1, sign_kind(place), ast.UnaryOp(ast.USub(), node)


def sign_kind(place: Place) -> str:
    return "sign of a term" if is_term(place) else "sign"


def products(place: Place, names: Names) -> Found:
    """Transpose or exchange the factors of a matrix product."""
    node = place.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        a, b = node.left, node.right
    elif isinstance(node, ast.Call) and function_of(node) == "dot" and node.args:
        a, b = (
            (node.args[0], node.args[1]) if len(node.args) > 1 else (owner_of(node), node.args[0])
        )
    elif isinstance(node, ast.Call) and function_of(node) in ("inv", "solve", "matmul"):
        for at, argument in enumerate(node.args):
            new = deepcopy(node)
            new.args[at] = turned(argument)
            yield 1, "transpose", new
        yield 1, "transpose", turned(node)
        return
    else:
        return
    sides = [(a, b), (b, a)]
    for left, right in sides:
        for l in (left, turned(left)):  # noqa: E741
            for r in (right, turned(right)):
                if (l, r) != (a, b):
                    yield 0, "transpose", ast.BinOp(l, ast.MatMult(), r)
    yield 1, "transpose", turned(node)


def removed(place: Place, names: Names) -> Found:
    """Leave a factor, a term or a function out."""
    node = place.node
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub):
            kind = "index" if in_index(place) else "extra term"
            yield 1, kind, node.left
            yield 1, kind, node.right
        elif isinstance(node.op, ast.Mult | ast.Div):
            yield 1, "wrong factor", node.left
            if isinstance(node.op, ast.Mult):
                yield 1, "wrong factor", node.right
                yield 1, "wrong factor", ast.BinOp(node.left, ast.Div(), node.right)
            else:
                yield 1, "wrong factor", ast.BinOp(node.left, ast.Mult(), node.right)
        elif isinstance(node.op, ast.Pow):
            yield 1, "power", node.left
    elif isinstance(node, ast.Call) and function_of(node) in WRAPPERS:
        inside = owner_of(node) or next(iter(node.args), None)
        if inside is not None:
            yield 1, _wrapper_kind(function_of(node)), inside
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield 1, "transpose", node.value
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield 2, "index", node.value


def several_removed(place: Place, names: Names) -> Found:
    """Leave two factors of a product out, or take another function's derivative for them."""
    node = place.node
    if isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Mult):
        return
    factors = _factors(node)
    for a, b in combinations(range(len(factors)), 2) if len(factors) > 2 else ():
        rest = [f for i, f in enumerate(factors) if i not in (a, b)]
        yield 2, "wrong factor", _product(rest)
        pair = ast.unparse(factors[a]), ast.unparse(factors[b])
        if pair[1] == f"1 - {pair[0]}":
            yield 2, "function", times(_product(rest), f"(1 - {pair[0]} ** 2)")


def _factors(node: Any) -> list[Any]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def _product(factors: list[Any]) -> Any:
    return reduce(lambda a, b: ast.BinOp(a, ast.Mult(), b), factors)


def _wrapper_kind(function: str) -> str:
    if function in ("sum", "mean"):
        return "extra sum"
    return {"clip": "clipped", "astype": "hidden float32"}.get(function, "function")


def more_factors(place: Place, names: Names) -> Found:
    """Multiply or divide by a variable, a length or 2; add ε."""
    node = place.node
    factor = isinstance(place.parent, ast.BinOp) and not isinstance(place.parent.op, ast.Pow)
    if not isinstance(node, ast.expr) or not (is_value(place) or factor):
        return
    if isinstance(node, ast.Constant | ast.Tuple | ast.Slice) or in_index(place):
        return
    if factor and isinstance(place.parent.op, ast.Mult | ast.Div | ast.MatMult):
        yield from _epsilons(place, names)
        return
    for form in names.derivatives():
        yield 3, "wrong factor", times(node, form)
    for name in names.in_products():
        yield 2, "factor 2" if name == "2" else "wrong factor", times(node, name)
        yield 2, "factor 2" if name == "2" else "wrong factor", over(node, name)
        if isinstance(node, ast.Name | ast.Attribute | ast.BinOp):
            yield 3, "missing term", ast.BinOp(node, ast.Add(), parse(name))
            yield 3, "missing term", ast.BinOp(node, ast.Sub(), parse(name))
    yield from _epsilons(place, names)
    if isinstance(node, ast.Name | ast.Call):
        yield 3, "power", ast.BinOp(node, ast.Pow(), ast.Constant(2))


def _epsilons(place: Place, names: Names) -> Found:
    inside = isinstance(place.parent, ast.Call) and function_of(place.parent) == "sqrt"
    below = isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Div)
    if inside or (below and place.field == "right"):
        for text in (*(n for n in names if "eps" in n.lower()), *map(str, EPSILONS)):
            yield 1, "epsilon", ast.BinOp(place.node, ast.Add(), parse(text))


def epsilon_moved(place: Place, names: Names) -> Found:
    """√v + ε for √(v + ε), and the other way round."""
    node = place.node
    added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
    if added and isinstance(node.left, ast.Call) and function_of(node.left) == "sqrt":
        new = deepcopy(node.left)
        new.args[0] = ast.BinOp(new.args[0], ast.Add(), node.right)
        yield 0, "epsilon", new
    if isinstance(node, ast.Call) and function_of(node) == "sqrt" and node.args:
        inside = node.args[0]
        if isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Add):
            new = deepcopy(node)
            new.args[0] = inside.left
            yield 0, "epsilon", ast.BinOp(new, ast.Add(), inside.right)


def wrapped(place: Place, names: Names) -> Found:
    """Put a function around a variable: its square, root, exponential, derivative."""
    node = place.node
    if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return
    if not isinstance(place.parent, ast.BinOp | ast.Call) or place.field == "func":
        return
    text = ast.unparse(node)
    for kind, form in (
        ("power", "{} ** 2"), ("function", "np.exp({})"), ("function", "np.sqrt({})"),
        ("function", "np.sign({})"), ("function", "(1 - {})"), ("function", "np.tanh({})"),
        ("wrong factor", "{0} * (1 - {0})"), ("wrong factor", "(1 - {0} ** 2)"),
        ("function", "(1 / (1 + np.exp(-{})))"), ("condition", "({} > 0)"),
        ("function", "np.maximum({}, 0)"), ("power", "{} ** 3"),
    ):  # fmt: skip
        yield 3, kind, parse(form.format(text))


def constants(place: Place, names: Names) -> Found:
    node = place.node
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return
    value: Any = node.value
    index = in_index(place) or isinstance(place.parent, ast.Tuple)
    for known in KNOWN:
        if type(value) is float and 0 < abs(value / known - 1) < 0.02:
            yield 0, "rounded constant", ast.Constant(known)
    kind = "index" if index else "constant"
    if isinstance(place.parent, ast.Subscript) and ".shape" in ast.unparse(place.parent.value):
        kind = "size"
    if type(value) is int or value == int(value):
        for other in dict.fromkeys((value + 1, value - 1, 2, 0, 1, -1, 3)):
            if other != value:
                yield 1, kind, ast.Constant(other)
    if value and not index:
        for other in dict.fromkeys((value / 2, -value, 1 / value, 1 - value, 1.0, 2 * value)):
            if other != value:
                yield 1, kind, ast.Constant(other)


def compared(place: Place, names: Names) -> Found:
    if isinstance(place.node, ast.cmpop):
        for other in (ast.Gt, ast.GtE, ast.Lt, ast.LtE, ast.Eq, ast.NotEq):
            if not isinstance(place.node, other):
                yield 0, "condition", other()
    if isinstance(place.node, ast.Compare) and isinstance(place.parent, ast.BinOp):
        yield 2, "condition", ast.UnaryOp(ast.Invert(), place.node)


def single(place: Place, names: Names) -> Found:
    """Use float64 where float32 is asked for."""
    text = ast.unparse(place.node) if isinstance(place.node, ast.Attribute | ast.Constant) else ""
    if text in ("np.float32", "'float32'", "numpy.float32", "np.single"):
        yield 0, "hidden float32", parse("float")
