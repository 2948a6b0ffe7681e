"""What an edit of the syntax tree changes, and what part of the formula it stands in.

This is all that is known of a mutant when it is decided which causes would be right. It is read
off the source; nothing is run, and nothing is known of what a search for the cause says.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from evidence.mutation.sources import Mutant, edits_of, scope_of
from evidence.mutation.tree import Place, called, children

PARTS = {  # part: the functions in whose arguments it lies
    "inside": {"exp", "expm1", "log", "log1p", "tanh", "sqrt", "erf", "square", "sigmoid",
               "exp_minus_abs"},
    "piece": {"where", "blend", "maximum", "minimum", "clip", "max", "argmax", "sign", "abs",
              "absolute", "put_along_axis", "take_along_axis", "_clamped_log", "exp_minus_abs",
              "sigmoid", "_dropped", "shortfall", "with_true_class"},
    "sum": {"sum", "mean", "row_sum"},
}  # fmt: skip


class Edit(NamedTuple):
    """A mutant as the table of right causes sees it.

    Attributes:
        operator: the kind of mistake.
        place: `module.function` without the package.
        touched: names, fields, numbers and functions that only one of old and new holds.
        parts: what it stands in, followed to the function's end: term, factor, inside, piece, sum,
            cache.
        number: what a result is multiplied by, or what a number was changed into.
    """

    operator: str
    place: str
    touched: str
    parts: frozenset[str]
    number: float | None


def edit(mutant: Mutant) -> Edit:
    """Read a mutant's edit off the syntax tree."""
    edits = edits_of(mutant)
    scope = scope_of(mutant)
    touched: Counter[str] = Counter()
    parts: set[str] = set()
    for place, new in edits:
        old = place.node
        before, after = Counter(_tokens(old)), Counter(_tokens(new))
        touched += (before - after) + (after - before)
        touched += Counter(_beside(place, old, mutant.operator))
        parts |= _followed(scope.node, old)
    place_name = f"{mutant.module.partition('.')[2]}.{mutant.function}"
    new_number = _number(mutant.operator, edits[0].place.node, edits[0].new)
    return Edit(
        mutant.operator, place_name, " ".join(sorted(touched)), frozenset(parts), new_number
    )


WHOLE = ("sign", "inverse", "condition", "boundary", "branch", "accumulate")


def _beside(place: Place, old: ast.AST, operator: str) -> Iterator[str]:
    """Yield what an edit is about without changing it: operands, a default's name, a shape."""
    if operator in WHOLE:
        yield from _tokens(old.test if isinstance(old, ast.If | ast.IfExp) else old)
    parent = place.parent
    if isinstance(parent, ast.Compare):
        yield from _tokens(parent)
    if called(parent) in ("len", "_samples"):
        yield called(parent)
    if isinstance(parent, ast.Attribute) and parent.attr in ("size", "shape"):
        yield parent.attr
    if isinstance(parent, ast.AnnAssign) and isinstance(parent.target, ast.Name):
        yield parent.target.id
    if isinstance(parent, ast.arguments) and place.field == "defaults" and place.at is not None:
        yield parent.args[place.at - len(parent.defaults)].arg
    if isinstance(parent, ast.Subscript) and ast.unparse(parent.value).endswith(".shape"):
        yield "shape"


def _number(operator: str, old: ast.AST, new: ast.AST) -> float | None:
    if operator == "factor":
        known = {ast.dump(n) for n in ast.walk(old)}
        added = (n for n in ast.walk(new) if isinstance(n, ast.Constant))
        new = next((n for n in added if ast.dump(n) not in known), new)
    value = getattr(new, "value", None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _tokens(node: ast.AST) -> Iterator[str]:
    for n in ast.walk(node):
        if isinstance(n, ast.Attribute):
            yield f"{n.value.id}.{n.attr}" if isinstance(n.value, ast.Name) else f".{n.attr}"
        elif isinstance(n, ast.Name):
            yield n.id
        elif isinstance(n, ast.Constant):
            yield repr(n.value)
        elif isinstance(n, ast.operator | ast.unaryop | ast.cmpop):
            yield type(n).__name__


def _followed(function: ast.AST, node: ast.AST) -> set[str]:
    """Return the parts that a node stands in, and those that what it is assigned to stands in."""
    parents = {child: parent for parent in ast.walk(function) for _, child in children(parent)}
    found, tainted = _around(node, parents)
    name = getattr(function, "name", "")
    found |= {part for part, names in PARTS.items() if name in names}
    body = [n for n in ast.walk(function) if isinstance(n, ast.stmt)]
    body.sort(key=lambda n: getattr(n, "lineno", 0))
    start = getattr(node, "lineno", 0)
    for statement in body:
        if getattr(statement, "lineno", 0) <= start or not isinstance(
            statement, ast.Assign | ast.AugAssign | ast.Return
        ):
            continue
        for n in ast.walk(statement):
            if isinstance(n, ast.Name) and n.id in tainted and isinstance(n.ctx, ast.Load):
                more, targets = _around(n, parents)
                found, tainted = found | more, tainted | targets
        if isinstance(statement, ast.AugAssign) and _named(statement.target) & tainted:
            found |= _of_operation(statement.op)
    return found


def _around(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> tuple[set[str], set[str]]:
    """Return the parts around a node within its statement, and the names that it is stored in."""
    found = _own(node)
    while node in parents and not isinstance(node, ast.stmt):
        parent = parents[node]
        if isinstance(parent, ast.BinOp):
            found |= _of_operation(parent.op)
            if isinstance(parent.op, ast.Div | ast.Pow) and node is parent.right:
                found.add("inside")
        elif isinstance(parent, ast.AugAssign):
            found |= _of_operation(parent.op)
            if isinstance(parent.op, ast.Div):
                found.add("inside")
        elif isinstance(parent, ast.Compare | ast.IfExp | ast.If) or _is_of_items(parent):
            found.add("piece")
        elif isinstance(parent, ast.Call):
            found |= {part for part, names in PARTS.items() if called(parent) in names}
            if called(parent).endswith(("Cache", "Residual")):
                found.add("cache")
        node = parent
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return found, {name for t in targets if t is not None for name in _named(t)}


def _is_of_items(node: ast.AST) -> bool:
    """Whether a statement sets single items: `slope[rows, target] = …`."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)


def _own(node: ast.AST) -> set[str]:
    """Return what the changed node itself is: a sum, a product, a choice."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return _of_operation(node.op)
    if isinstance(node, ast.Compare | ast.IfExp | ast.If):
        return {"piece"}
    return {part for part, names in PARTS.items() if called(node) in names}


def _of_operation(op: ast.operator) -> set[str]:
    if isinstance(op, ast.Add | ast.Sub):
        return {"term"}
    if isinstance(op, ast.Mult | ast.Div | ast.MatMult | ast.Pow):
        return {"factor"}
    return {"piece"} if isinstance(op, ast.BitAnd | ast.BitOr) else set()


def _named(target: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
