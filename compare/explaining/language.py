"""The formulas' little language: index notation in Python's syntax, parsed and never executed.

`sum(n, dy[n,o] * x[n,i])` is Σ_n δ_no x_ni. One text is evaluated with a run's numbers and printed
as LaTeX, as Unicode and with the numbers put in; so what is shown is what was worked.

    x[n,i]           an element; the first index stands for all leading axes of the array
    x[n,s * u - p]   an index may be worked out: + - * //, a whole number of an array, a defined
                     name, size(x, -1) (how long an axis is); and, for what lies beyond the n
                     elements of an axis, reflect(i, n), clamp(i, n), wrap(i, n)
    sum(n, e)        over all n; sum(j, j != t[n], e) only where the condition holds
    0 <= i < n       compares indices, and says how far i goes if no array does; joined by `and`
    prod, largest, mean    likewise
    cases(c, a, b)   a where c holds, else b
    (x > 0)          1 where it holds, else 0
    pi exp log sqrt abs sign floor max min fold sigma Phi phi
    sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh
    single(x)        x rounded to float32
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

REDUCTIONS = ("sum", "prod", "largest", "mean")
FUNCTIONS = (
    "exp", "log", "sqrt", "sin", "cos", "tanh", "sigma", "Phi", "phi", "abs", "sign", "max", "min",
    "single", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "floor",
)  # fmt: skip
INDEX_FUNCTIONS = ("size", "reflect", "clamp", "wrap")
SPECIAL = ("cases", "fold", *INDEX_FUNCTIONS)
ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript, ast.Name, ast.Constant, ast.Compare,
    ast.Tuple, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.Load,
    ast.Gt, ast.Lt, ast.Eq, ast.NotEq, ast.LtE, ast.GtE, ast.FloorDiv, ast.BoolOp, ast.And,
)  # fmt: skip


@cache
def parse(text: str) -> ast.expr:
    """Read a formula.

    Raises:
        ValueError: it is not of the language.
    """
    tree = ast.parse(text.strip(), mode="eval").body
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            raise ValueError(f"A formula cannot hold {type(node).__name__}: {text!r}.")
        if isinstance(node, ast.Call) and function_of(node) not in (
            *REDUCTIONS, *FUNCTIONS, *SPECIAL,
        ):  # fmt: skip
            raise ValueError(f"A formula has no function {ast.unparse(node.func)}: {text!r}.")
    return tree


def function_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def is_reduction(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and function_of(node) in REDUCTIONS


def reduction(call: ast.Call) -> tuple[str, ast.expr | None, ast.expr]:
    """Return the index of a sum, its condition if it has one, and what is summed."""
    index = call.args[0]
    assert isinstance(index, ast.Name)
    return index.id, call.args[1] if len(call.args) == 3 else None, call.args[-1]


def parts(condition: ast.expr) -> list[ast.Compare]:
    """Return the comparisons of a condition, which must all hold."""
    found = condition.values if isinstance(condition, ast.BoolOp) else [condition]
    return [part for part in found if isinstance(part, ast.Compare)]


@cache
def element(node: ast.Subscript) -> tuple[str, tuple[ast.expr, ...]]:
    """Return the name of an array and the indices that it is read at."""
    assert isinstance(node.value, ast.Name)
    at = node.slice
    return node.value.id, tuple(at.elts) if isinstance(at, ast.Tuple) else (at,)


def names(node: ast.expr) -> Iterator[str]:
    """Yield every name that is read, functions aside, in order of appearance."""
    for child in ast.walk(node):
        if isinstance(child, ast.Call):
            child.func.is_function = True  # type: ignore[attr-defined]
        if isinstance(child, ast.Name) and not hasattr(child, "is_function"):
            yield child.id


def brackets(node: ast.expr) -> bool:
    """Return whether a formula holds a comparison that stands for 1 or 0."""
    found: list[ast.AST] = [n for n in ast.walk(node) if isinstance(n, ast.Compare)]
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and (is_reduction(call) or function_of(call) == "cases"):
            conditions = [part for argument in call.args[:2] for part in parts(argument)]
            found = [n for n in found if n not in conditions]
    return bool(found)
