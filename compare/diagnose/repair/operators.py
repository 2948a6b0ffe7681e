"""The changes that mend usual mistakes: of assignments, products, sums, axes, indices and names.

Each function yields changes at one place; `edits` those of a whole function, most likely first.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from compare.diagnose.repair.edit import Edit, Place, base, parse, places
from compare.diagnose.repair.relevant import relevant

Found = Iterator[tuple[int, str, Any]]  # rank, kind, what is put there
KNOWN = (
    0.044715, 0.134145, math.pi, math.e, math.sqrt(2), math.sqrt(0.5), math.sqrt(2 / math.pi),
    1 / math.sqrt(2 * math.pi), math.log(2), 1 / 3, 1 / 6, 2 / 3, 1.702, 0.01,
    1.0507009873554804934193349852946, 1.6732632423543772848170429916717,
)  # fmt: skip
EPSILONS = (1e-5, 1e-8, 1e-12, 1e-6, 1e-7)
TWINS = (
    ("sum", "mean"), ("max", "min"), ("maximum", "minimum"), ("argmax", "argmin"), ("sin", "cos"),
    ("exp", "log"), ("sqrt", "square"), ("var", "std"), ("floor", "ceil"), ("ones", "zeros"),
    ("ones_like", "zeros_like"), ("tanh", "sinh"), ("vstack", "hstack"),
)  # fmt: skip
WRAPPERS = ("clip", "astype", "abs", "round", "sign", "sqrt", "exp", "tanh", "log", "squeeze",
            "maximum", "minimum", "mean", "sum", "flip", "copy")  # fmt: skip
ORDERS = ("1, 0", "0, 2, 1", "1, 0, 2", "0, 2, 3, 1", "0, 3, 1, 2", "1, 0, 2, 3", "1, 2, 3, 0",
          "3, 0, 1, 2")  # fmt: skip
REDUCTIONS = ("sum", "mean", "max", "min", "argmax", "prod")


def edits(
    tree: ast.FunctionDef, variables: Mapping[str, Any], wanted: int | None, width: int
) -> list[Edit]:
    """Return every change of a function, most likely first.

    Args:
        tree: the function.
        variables: what they held when it ran.
        wanted: which of `width` returned gradients is wrong; None for all, or nobody knows.
    """
    statements = relevant(tree, wanted, width)
    names = Names(tree, variables)
    found: list[Edit] = []
    for holder in places(tree):
        if isinstance(holder.node, ast.stmt) and holder.node in statements:
            found += _of_statement(holder, names, tree)
    found += _everywhere(tree, names, statements)
    return sorted(found, key=lambda edit: edit.rank)


def _everywhere(tree: ast.FunctionDef, names: Names, statements: set[ast.stmt]) -> Iterator[Edit]:
    """Change every mean into a sum, every use of one variable into another."""
    spots = [p for s in places(tree) if s.node in statements for p in _expressions(s.node)]
    whole: dict[tuple[str, str], list[tuple[Place, Any]]] = {}
    for p in spots:
        if isinstance(p.node, ast.Call) and (name := _function(p.node)) in ("sum", "mean"):
            for _, kind, new in _functions(p, names):
                whole.setdefault((kind, name), []).append((p, new))
        if isinstance(p.node, ast.Name) and p.node.id in names and _is_read(p):
            for other in names.like(p.node.id):
                key = ("another variable", f"{p.node.id} {other}")
                whole.setdefault(key, []).append((p, ast.Name(other, ast.Load())))
    for (kind, _), changes in whole.items():
        if len(changes) > 1:
            yield Edit(2, kind, tuple(changes), _statement_of(changes[0][0], tree))


def _is_read(place: Place) -> bool:
    return isinstance(place.node.ctx, ast.Load) and place.field != "func"


def _statement_of(place: Place, tree: ast.FunctionDef) -> ast.stmt:
    """Return the innermost statement that holds a place."""
    found = [s for s in ast.walk(tree) if isinstance(s, ast.stmt) and s is not tree
             and any(n is place.node for n in ast.walk(s))]  # fmt: skip
    return found[-1]


def _of_statement(holder: Place, names: Names, tree: ast.FunctionDef) -> Iterator[Edit]:
    statement = holder.node
    for rank, kind, new in _statement(statement, tree):
        yield Edit(rank, kind, ((holder, new),), statement)
    yield from _strides(statement, names)
    for place in _expressions(statement):
        for operator in OPERATORS:
            for rank, kind, new in operator(place, names):
                yield Edit(rank, kind, ((place, new),), statement)


def _expressions(statement: ast.stmt) -> Iterator[Place]:
    """Yield the places of a statement's own expressions, not of the statements in it."""
    for place in places(statement):
        if isinstance(place.node, ast.expr | ast.cmpop | ast.slice) and _owns(statement, place):
            yield place


def _owns(statement: ast.stmt, place: Place) -> bool:
    bodies = [s for field in ("body", "orelse") for s in getattr(statement, field, ())]
    return not any(place.parent is n for s in bodies for n in ast.walk(s))


class Names(list[str]):
    """The variables that hold numbers, in the order in which they come up; attributes, too."""

    def __init__(self, tree: ast.FunctionDef, variables: Mapping[str, Any]) -> None:
        found = [a.arg for a in tree.args.args if a.arg not in ("self", "ctx")]
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.append(node.id)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                found.append(ast.unparse(node))
        self.shapes = {name: _shape(name, variables) for name in found} if variables else {}
        loops = (n.target for n in ast.walk(tree) if isinstance(n, ast.For))
        self.loops = {n.id for t in loops for n in ast.walk(t) if isinstance(n, ast.Name)}
        super().__init__(n for n in dict.fromkeys(found) if self.shapes.get(n, ()) is not None)

    def factors(self) -> list[str]:
        """Return those that may be factors or terms."""
        return [n for n in self if n not in self.loops]

    def numbers(self) -> list[str]:
        """Return those that hold a single number."""
        return [n for n in self.factors() if not self.shapes.get(n)]

    def in_products(self) -> list[str]:
        """Return what may multiply or divide: variables, along every axis, lengths, 2, squares."""
        rows = [n for n in self.factors() if len(self.shapes.get(n) or ()) == 1]
        along = [f"{n}{axes}" for n in rows for axes in ("[:, None]", "[:, None, None]")]
        squares = [f"{n} ** 2" for n in self.numbers()]
        return [*self.factors(), *(f"len({n})" for n in self[:1]), "2", *squares, *along]

    def like(self, name: str) -> list[str]:
        """Return the others that may stand in a variable's place."""
        shape = self.shapes.get(name)
        return [n for n in self if n != name and (not self.shapes or self.shapes[n] == shape)]


def _shape(name: str, variables: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return a variable's shape; None if it holds no numbers."""
    owner, _, attribute = name.partition(".")
    value = variables.get(owner)
    value = getattr(value, attribute, None) if attribute else value
    if isinstance(value, int | float):
        return ()
    shape = getattr(value, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) else None


# ── statements ───────────────────────────────────────────────────────────────────────────────────
def _statement(s: ast.stmt, tree: ast.FunctionDef) -> Found:
    if isinstance(s, ast.Assign) and len(s.targets) == 1:
        target, value = s.targets[0], s.value
        if isinstance(target, ast.Subscript) or _stored_before(s, base(target), tree):
            yield 0, "overwritten", ast.AugAssign(target, ast.Add(), value)
            yield 1, "overwritten", ast.AugAssign(target, ast.Sub(), value)
    if isinstance(s, ast.AugAssign):
        target, value = s.target, s.value
        if (call := _added_at(target, value)) is not None:
            yield 0, "overwritten", call
        for kind, op in _other_operations(s.op):
            yield 1, kind, ast.AugAssign(target, op, value)
        yield 1, "extra term" if isinstance(s.op, ast.Add | ast.Sub) else "wrong factor", ast.Pass()
        yield 2, "overwritten", ast.Assign([_stored(target)], value)
    if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Subscript):
        if (call := _added_at(s.targets[0], s.value)) is not None:
            yield 1, "overwritten", call
        yield 3, "extra statement", ast.Pass()
    if isinstance(s, ast.Assign | ast.AugAssign) and ast.unparse(s.value).endswith("[:, None]"):
        target = s.targets[0] if isinstance(s, ast.Assign) else s.target
        for fancy in _fancy(target):
            new = deepcopy(s)
            new.value = new.value.value  # type: ignore[attr-defined]
            setattr(
                new, *(("targets", [fancy]) if isinstance(new, ast.Assign) else ("target", fancy))
            )
            yield 0, "index", new
    if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call):
        yield 2, "clipped" if "clip" in ast.unparse(s) else "extra statement", ast.Pass()


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
    return not reads and any(base(t) == name for n in earlier for t in n.targets)


def _other_operations(op: ast.operator) -> Iterator[tuple[str, ast.operator]]:
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


def _strides(s: ast.stmt, names: Names) -> Iterator[Edit]:
    """Multiply every loop variable of a statement: a stride that is ignored."""
    spots = [
        p for p in _expressions(s) if isinstance(p.node, ast.Name) and p.node.id in names.loops
    ]
    if len(spots) < 2 or isinstance(s, ast.For):
        return
    inner = {p.node.id for p in spots if isinstance(p.parent, ast.Slice | ast.BinOp | ast.Tuple)}
    for name in names.numbers() if inner else ():
        scaled = tuple((p, _times(p.node, name)) for p in spots if p.node.id in inner)
        yield Edit(2, "index", scaled, s)


# ── expressions ──────────────────────────────────────────────────────────────────────────────────
def _signs(place: Place, names: Names) -> Found:
    node = place.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield 0, _sign_kind(place), node.operand
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        (kind, op), *_ = _other_operations(node.op)
        yield 0, kind, ast.BinOp(node.left, op, node.right)
        yield 1, "sign", ast.UnaryOp(ast.USub(), node)
    elif _is_value(place) and not isinstance(node, ast.Constant):
        yield 1, _sign_kind(place), ast.UnaryOp(ast.USub(), node)


def _sign_kind(place: Place) -> str:
    return "sign of a term" if _is_term(place) else "sign"


def _is_term(place: Place) -> bool:
    return isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Add | ast.Sub)


def _is_value(place: Place) -> bool:
    """Return whether this is a whole right-hand side, returned gradient, term or argument."""
    if isinstance(place.node, ast.Tuple | ast.Starred | ast.Slice):
        return False
    if isinstance(place.parent, ast.Assign | ast.AugAssign | ast.Return):
        return place.field == "value"
    if isinstance(place.parent, ast.Attribute):
        return not isinstance(place.node, ast.Name) and place.parent.attr in REDUCTIONS
    if isinstance(place.parent, ast.Tuple):
        return isinstance(place.parent.ctx, ast.Load) and not _is_index(place)
    return (
        _is_term(place) or (isinstance(place.parent, ast.Call) and place.field == "args")
    ) and isinstance(place.node, ast.expr)


def _is_index(place: Place) -> bool:
    return isinstance(place.node, ast.Slice | ast.Constant)


def _products(place: Place, names: Names) -> Found:
    """Transpose or exchange the factors of a matrix product."""
    node = place.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        a, b = node.left, node.right
    elif isinstance(node, ast.Call) and _function(node) == "dot" and node.args:
        a, b = (node.args[0], node.args[1]) if len(node.args) > 1 else (_owner(node), node.args[0])
    elif isinstance(node, ast.Call) and _function(node) in ("inv", "solve", "matmul"):
        for at, argument in enumerate(node.args):
            new = deepcopy(node)
            new.args[at] = _turned(argument)
            yield 1, "transpose", new
        yield 1, "transpose", _turned(node)
        return
    else:
        return
    sides = [(a, b), (b, a)]
    for left, right in sides:
        for l in (left, _turned(left)):  # noqa: E741
            for r in (right, _turned(right)):
                if (l, r) != (a, b):
                    yield 0, "transpose", ast.BinOp(l, ast.MatMult(), r)
    yield 1, "transpose", _turned(node)


def _turned(node: Any) -> Any:
    """Return a matrix transposed: without its `.T` if it has one."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return node.value
    if isinstance(node, ast.UnaryOp):
        return ast.UnaryOp(node.op, _turned(node.operand))
    return ast.Attribute(node, "T", ast.Load())


def _removed(place: Place, names: Names) -> Found:
    """Leave a factor, a term or a function out."""
    node = place.node
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub):
            kind = "index" if _in_index(place) else "extra term"
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
    elif isinstance(node, ast.Call) and _function(node) in WRAPPERS:
        inside = _owner(node) or next(iter(node.args), None)
        if inside is not None:
            yield 1, _wrapper_kind(_function(node)), inside
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield 1, "transpose", node.value
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield 2, "index", node.value


def _wrapper_kind(function: str) -> str:
    if function in ("sum", "mean"):
        return "extra sum"
    return {"clip": "clipped", "astype": "hidden float32"}.get(function, "function")


def _in_index(place: Place) -> bool:
    return isinstance(place.parent, ast.Slice | ast.Subscript) or (
        isinstance(place.parent, ast.Call) and _function(place.parent) == "range"
    )


def _compared(place: Place, names: Names) -> Found:
    if isinstance(place.node, ast.cmpop):
        for other in (ast.Gt, ast.GtE, ast.Lt, ast.LtE, ast.Eq, ast.NotEq):
            if not isinstance(place.node, other):
                yield 0, "condition", other()
    if isinstance(place.node, ast.Compare) and isinstance(place.parent, ast.BinOp):
        yield 2, "condition", ast.UnaryOp(ast.Invert(), place.node)


def _reduced(place: Place, names: Names) -> Found:
    """Sum over other axes, average, keep axes, or sum at all."""
    node = place.node
    if isinstance(node, ast.Call) and _function(node) in REDUCTIONS:
        yield from _axes(node)
    factor = isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Mult | ast.Div)
    if (factor or _is_value(place)) and not isinstance(node, ast.Constant | ast.Tuple):
        for text in ("0", "1", "-1", "None", "(0, 1)", "(0, 2, 3)"):
            yield 2, "missing sum", _summed(node, text, keep=False)
            if text in ("1", "-1", "0"):
                yield 2, "missing sum", _summed(node, text, keep=True)


def _summed(node: Any, axis: str, *, keep: bool) -> Any:
    call = parse(f"a.sum(axis={axis}{', keepdims=True' if keep else ''})")
    call.func.value = node
    return call


def _axes(node: ast.Call) -> Found:
    for text in ("0", "1", "-1", "2", "None", "(0, 1)", "(0, 2)", "(0, 2, 3)"):
        for keep in (None, True, False):
            new = deepcopy(node)
            owner = _owner(node)
            new.args = new.args[: 0 if owner is not None else 1]
            kept = [k for k in new.keywords if k.arg not in ("axis", "keepdims")]
            flags = [k for k in new.keywords if k.arg == "keepdims"] if keep is None else [
                ast.keyword("keepdims", ast.Constant(keep))
            ]  # fmt: skip
            new.keywords = [*kept, ast.keyword("axis", parse(text)), *flags]
            if ast.unparse(new) != ast.unparse(node):
                kind = "index" if _function(node) == "argmax" else "wrong axis"
                if keep is not None and f"axis={text}" in ast.unparse(node):
                    kind = "shape"
                yield 0 if keep is None else 1, kind, new


def _functions(place: Place, names: Names) -> Found:
    node = place.node
    if not isinstance(node, ast.Call):
        return
    name = _function(node)
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
    if name == "reshape" and (owner := _owner(node)) is not None:
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


def _constants(place: Place, names: Names) -> Found:
    node = place.node
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return
    value, index = node.value, _in_index(place) or isinstance(place.parent, ast.Tuple)
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


def _indexed(place: Place, names: Names) -> Found:
    """Index each row at its own column, reversed, or with one more axis."""
    node = place.node
    for fancy in _fancy(node):
        yield 0, "index", fancy
    if isinstance(node, ast.Subscript) and any(isinstance(n, ast.Slice) for n in ast.walk(node)):
        yield from _trimmed(node, names)
    if isinstance(node, ast.Slice) and isinstance(node.step, ast.UnaryOp):
        yield 1, "axes", ast.Slice(node.lower, node.upper, None)
    whole = isinstance(node, ast.Name | ast.Subscript | ast.Call) and isinstance(
        getattr(node, "ctx", ast.Load()), ast.Load
    )
    if whole and (_is_value(place) or isinstance(place.parent, ast.BinOp)):
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
            yield 3, "index", new


def _fancy(node: ast.AST) -> Iterator[ast.Subscript]:
    """Yield `a[np.arange(len(y)), y]` for `a[y]` and `a[:, y]`."""
    if not isinstance(node, ast.Subscript):
        return
    index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    column, rows = index[-1], index[:-1]
    if isinstance(column, ast.Slice | ast.Constant) or len(rows) > 1:
        return
    if not rows or isinstance(rows[0], ast.Slice):
        new = deepcopy(node)
        count = parse(f"np.arange(len({ast.unparse(column)}))")
        new.slice = ast.Tuple([count, column], ast.Load())
        yield new


def _trimmed(node: ast.Subscript, names: Names) -> Found:
    """Cut the same margin off both ends of every axis that is sliced."""
    index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for name in names.numbers():
        margin = parse(f"a[{name}:-{name}]").slice
        cut = [margin if isinstance(i, ast.Slice) and (i.lower or i.upper) else i for i in index]
        new = deepcopy(node)
        new.slice = ast.Tuple(cut, ast.Load()) if len(cut) > 1 else cut[0]
        yield 2, "index", new


def _more_factors(place: Place, names: Names) -> Found:
    """Multiply or divide by a variable, a length or 2; add ε."""
    node = place.node
    factor = isinstance(place.parent, ast.BinOp) and not isinstance(place.parent.op, ast.Pow)
    if not isinstance(node, ast.expr) or not (_is_value(place) or factor):
        return
    if isinstance(node, ast.Constant | ast.Tuple | ast.Slice) or _in_index(place):
        return
    if factor and isinstance(place.parent.op, ast.Mult | ast.Div | ast.MatMult):
        yield from _epsilons(place, names)
        return
    for name in names.in_products():
        yield 2, "factor 2" if name == "2" else "wrong factor", _times(node, name)
        yield 2, "factor 2" if name == "2" else "wrong factor", _over(node, name)
        if isinstance(node, ast.Name | ast.Attribute | ast.BinOp):
            yield 3, "missing term", ast.BinOp(node, ast.Add(), parse(name))
            yield 3, "missing term", ast.BinOp(node, ast.Sub(), parse(name))
    yield from _epsilons(place, names)
    if isinstance(node, ast.Name):
        yield 3, "power", ast.BinOp(node, ast.Pow(), ast.Constant(2))


def _epsilons(place: Place, names: Names) -> Found:
    inside = isinstance(place.parent, ast.Call) and _function(place.parent) == "sqrt"
    below = isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.Div)
    if inside or (below and place.field == "right"):
        for text in (*(n for n in names if "eps" in n.lower()), *map(str, EPSILONS)):
            yield 1, "epsilon", ast.BinOp(place.node, ast.Add(), parse(text))


def _epsilon_moved(place: Place, names: Names) -> Found:
    """√v + ε for √(v + ε), and the other way round."""
    node = place.node
    added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
    if added and isinstance(node.left, ast.Call) and _function(node.left) == "sqrt":
        new = deepcopy(node.left)
        new.args[0] = ast.BinOp(new.args[0], ast.Add(), node.right)
        yield 0, "epsilon", new
    if isinstance(node, ast.Call) and _function(node) == "sqrt" and node.args:
        inside = node.args[0]
        if isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Add):
            new = deepcopy(node)
            new.args[0] = inside.left
            yield 0, "epsilon", ast.BinOp(new, ast.Add(), inside.right)


def _wrapped(place: Place, names: Names) -> Found:
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


def _exchanged(place: Place, names: Names) -> Found:
    """Exchange two elements of a tuple, or the arguments of a call."""
    node = place.node
    if isinstance(node, ast.Tuple) and len(node.elts) < 12:
        inside = isinstance(place.parent, ast.Subscript)
        kind = "index" if inside else "another tensor"
        for i in range(len(node.elts)):
            for j in range(i):
                new = deepcopy(node)
                new.elts[i], new.elts[j] = new.elts[j], new.elts[i]
                rank = 2 if inside else 0 if isinstance(place.parent, ast.Return) else 1
                yield rank, kind, new
    if isinstance(node, ast.Call) and len(node.args) == 3 and _function(node) == "where":
        new = deepcopy(node)
        new.args[1], new.args[2] = new.args[2], new.args[1]
        yield 0, "condition", new
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div):
        yield (
            1,
            "sign" if isinstance(node.op, ast.Sub) else "wrong factor",
            ast.BinOp(node.right, node.op, node.left),
        )


def _renamed(place: Place, names: Names) -> Found:
    """Use another variable."""
    node = place.node
    named = isinstance(node, ast.Name) or ast.unparse(node) in names
    if not named or not isinstance(getattr(node, "ctx", None), ast.Load):
        return
    if place.field == "func" or (isinstance(place.parent, ast.Attribute) and node.id == "np"):
        return
    for name in names.like(ast.unparse(node)):
        yield 2, "another variable", parse(name)


def _single(place: Place, names: Names) -> Found:
    """Use float64 where float32 is asked for."""
    text = ast.unparse(place.node) if isinstance(place.node, ast.Attribute | ast.Constant) else ""
    if text in ("np.float32", "'float32'", "numpy.float32", "np.single"):
        yield 0, "hidden float32", parse("float")


OPERATORS: tuple[Callable[[Place, list[str]], Iterable], ...] = (
    _signs, _products, _removed, _compared, _reduced, _functions, _constants, _indexed,
    _more_factors, _epsilon_moved, _wrapped, _exchanged, _renamed, _single,
)  # fmt: skip


def _times(node: Any, name: str) -> ast.BinOp:
    return ast.BinOp(node, ast.Mult(), parse(name))


def _over(node: Any, name: str) -> ast.BinOp:
    return ast.BinOp(node, ast.Div(), parse(name))


def _function(node: ast.Call) -> str:
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _owner(node: ast.Call) -> Any:
    """Return the array that a method is called on; None for a function of NumPy."""
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) not in (
        "np", "numpy", "np.linalg", "torch", "F", "math",
    ):  # fmt: skip
        return node.func.value
    return None
