"""Evaluate a formula at one element, to 40 digits, from the numbers of a run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from compare.explaining.language import (
    INDEX_FUNCTIONS,
    REDUCTIONS,
    element,
    function_of,
    parse,
    parts,
    reduction,
)

DIGITS = 40  # and MORE where two numbers cancel
MORE = 400
Index = Any  # an int, or a tuple of them that stands for several axes
Scope = dict[str, Index]


class Definition(NamedTuple):
    """A name that a formula uses for something worked out from the rest: p[n,k] = …"""

    indices: tuple[str, ...]
    right: ast.expr


def definition(text: str) -> tuple[str, Definition]:
    """Read `p[n,k] = exp(z[n,k]) / …`."""
    left, _, right = text.partition(" = ")
    name, indices = head(left)
    return name, Definition(indices, parse(right))


def head(left: str) -> tuple[str, tuple[str, ...]]:
    """Return the name and the indices of a left side such as `dW[o,i]`."""
    node = parse(left)
    if isinstance(node, ast.Name):
        return node.id, ()
    assert isinstance(node, ast.Subscript)
    name, at = element(node)
    return name, tuple(i.id for i in at if isinstance(i, ast.Name))


class Env:
    """What the names in a formula stand for.

    Args:
        arrays: read by elements.
        scalars: numbers.
        definitions: names that are worked out.
        fold: what `fold(i)` makes of an index.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        scalars: Mapping[str, Any] | None = None,
        definitions: Mapping[str, Definition] | None = None,
        fold: Callable[[Index], Index] | None = None,
    ) -> None:
        self.arrays, self.scalars = dict(arrays), {"pi": mp().pi, **(scalars or {})}
        self.definitions, self.fold = dict(definitions or {}), fold
        self._memo: dict[tuple, Any] = {}
        self._extents: dict[tuple[str, ast.expr], tuple[int, ...] | None] = {}

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """Return the value of a formula where its indices are as in `scope`."""
        try:
            work = _VALUE[type(node)]
        except KeyError:
            raise TypeError(ast.dump(node)) from None
        return work(self, node, scope)

    def _name(self, node: ast.Name, scope: Scope) -> Any:
        name = node.id
        if name in scope:
            return mp().mpf(scope[name])
        if name in self.definitions:
            return self.element(name, ())
        if name in self.arrays:
            return self.element(name, ())
        return mp().mpf(self.scalars[name])

    def _operation(self, node: ast.BinOp, scope: Scope) -> Any:
        work = _ARITHMETIC[type(node.op)]
        return work(self.value(node.left, scope), self.value(node.right, scope))

    def _read(self, node: ast.Subscript, scope: Scope) -> Any:
        name, at = element(node)
        return self.element(name, self._indices(at, scope))

    def _indices(self, at: tuple[ast.expr, ...], scope: Scope) -> tuple[Index, ...]:
        """Return the indices of an element; most are letters."""
        return tuple([
            scope[i.id] if type(i) is ast.Name and i.id in scope else self.index(i, scope)
            for i in at
        ])  # fmt: skip

    def element(self, name: str, at: tuple[Index, ...]) -> Any:
        """Return one element of an array, or of what a definition says."""
        if name in self.arrays:
            return number(self.arrays[name][flat(at)])
        key = (name, at)
        if key not in self._memo:
            indices, right = self.definitions[name]
            self._memo[key] = self.value(right, dict(zip(indices, at, strict=True)))
        return self._memo[key]

    def index(self, node: ast.expr, scope: Scope) -> Index:
        """Return an index: a letter, a number, arithmetic, a whole number of an array, a fold."""
        match node:
            case ast.Name(id=name):
                return scope[name] if name in scope else self._whole(name, ())
            case ast.Constant(value=int(number)):
                return number
            case ast.UnaryOp(operand=operand):
                return -self.index(operand, scope)
            case ast.BinOp(left=left, op=op, right=right):
                return _WHOLE[type(op)](self.index(left, scope), self.index(right, scope))
            case ast.Subscript():
                name, at = element(node)
                return self._whole(name, self._indices(at, scope))
            case ast.Call(args=[ast.Name(id=name), axis]) if function_of(node) == "size":
                return np.shape(self.arrays[name])[self.index(axis, scope)]
            case ast.Call(args=[inner, size]) if function_of(node) in _BEYOND:
                return _BEYOND[function_of(node)](self.index(inner, scope), self.index(size, scope))
            case ast.Call(args=[inner]) if self.fold is not None:
                return self.fold(self.index(inner, scope))
        raise TypeError(ast.dump(node))

    def _whole(self, name: str, at: tuple[Index, ...]) -> Index:
        """Return a whole number: of an array, a scalar, or worked out as a definition says."""
        if name in self.definitions:
            indices, right = self.definitions[name]
            return self.index(right, dict(zip(indices, at, strict=True)))
        return int(self.arrays[name][flat(at)] if name in self.arrays else self.scalars[name])

    def holds(self, node: ast.expr, scope: Scope) -> bool:
        """Return whether a condition holds: all of its comparisons do."""
        return all(self._holds(part, scope) for part in parts(node))

    def _holds(self, node: ast.Compare, scope: Scope) -> bool:
        op = node.ops[0]
        if len(node.ops) > 1:
            sides = [self.index(side, scope) for side in (node.left, *node.comparators)]
            return all(
                _ORDER[type(sign)](a, b)
                for sign, a, b in zip(node.ops, sides, sides[1:], strict=False)
            )
        if isinstance(op, ast.Eq | ast.NotEq):
            same = self.index(node.left, scope) == self.index(node.comparators[0], scope)
            return bool(same) == isinstance(op, ast.Eq)
        a, b = self.value(node.left, scope), self.value(node.comparators[0], scope)
        return bool(_ORDER[type(op)](a, b))

    def scopes(self, call: ast.Call, scope: Scope) -> Iterator[Scope]:
        """Yield the scope of every term of a sum."""
        index, condition, body = reduction(call)
        for at in self._range(index, body, condition, scope):
            inner = {**scope, index: at}
            if condition is None or self.holds(condition, inner):
                yield inner

    def _range(
        self, index: str, body: ast.expr, condition: ast.expr | None, scope: Scope
    ) -> Iterator[Index]:
        if (index, body) not in self._extents:
            self._extents[index, body] = self.extent(index, body)
        lengths = self._extents[index, body]
        if lengths is None:
            for part in [] if condition is None else parts(condition):
                match part:  # 0 <= k < n
                    case ast.Compare(
                        left=low, ops=[ast.LtE(), ast.Lt()], comparators=[ast.Name(id=name), high]
                    ) if name == index:
                        return iter(range(self.index(low, scope), self.index(high, scope)))
            raise ValueError(f"Nothing in {ast.unparse(body)} says how far {index} goes.")
        if len(lengths) == 1:
            return iter(range(lengths[0]))
        return product(*map(range, lengths))

    def extent(self, index: str, body: ast.expr) -> tuple[int, ...] | None:
        """Return the lengths of the axes that an index runs over, from where it is used."""
        for node in ast.walk(body):
            if not isinstance(node, ast.Subscript):
                continue
            name, at = element(node)
            if getattr(self.arrays.get(name), "shape", ()) is None:
                continue  # ones, as many as are asked for
            for place, i in enumerate(at):
                if not (isinstance(i, ast.Name) and i.id == index):
                    continue
                if name in self.arrays:
                    return _axes(self.arrays[name].shape, place, len(at))
                inner = self.definitions[name]
                found = self.extent(inner.indices[place], inner.right)
                if found is not None:
                    return found
        return None

    def _call(self, node: ast.Call, scope: Scope) -> Any:
        name = function_of(node)
        if name in REDUCTIONS:
            body = reduction(node)[2]
            terms = [self.value(body, inner) for inner in self.scopes(node, scope)]
            return _REDUCE[name](terms)
        if name in INDEX_FUNCTIONS:
            return mp().mpf(self.index(node, scope))
        if name == "cases":
            condition, yes, no = node.args
            return self.value(yes if self.holds(condition, scope) else no, scope)
        return apply(name, [self.value(a, scope) for a in node.args])


def _axes(shape: tuple[int, ...], place: int, count: int) -> tuple[int, ...]:
    """Return the axes that one of `count` indices stands for: the first takes all leading ones."""
    surplus = len(shape) - count + 1
    return shape[:surplus] if place == 0 else (shape[surplus + place - 1],)


def flat(at: tuple[Index, ...]) -> tuple[int, ...]:
    """Return one tuple of integers for indices that may be tuples themselves."""
    if tuple not in map(type, at):
        return at
    return tuple(k for i in at for k in (i if isinstance(i, tuple) else (i,)))


def bind(indices: tuple[str, ...], at: tuple[int, ...]) -> Scope:
    """Give the indices of a left side their values; the first takes all leading axes."""
    if not indices:
        return {}
    surplus = len(at) - len(indices) + 1
    first: Index = at[0] if surplus == 1 else at[:surplus]
    return dict(zip(indices, (first, *at[surplus:]), strict=True))


@cache
def mp() -> Any:
    """Return the arithmetic: mpmath's, set to DIGITS."""
    from mpmath import MPContext

    context = MPContext()
    context.dps = DIGITS
    return context


def number(x: Any) -> Any:
    return mp().convert(float(x))


@cache
def _constant(node: ast.Constant) -> Any:
    return mp().mpf(node.value)


_WHOLE: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}  # fmt: skip
_ORDER: dict[type, Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt, ast.Lt: operator.lt, ast.GtE: operator.ge, ast.LtE: operator.le,
}  # fmt: skip
_BEYOND: dict[str, Callable[[int, int], int]] = {  # which of an axis's n elements stands at place i
    "reflect": lambda i, n: n - 1 - abs(n - 1 - abs(i)),
    "clamp": lambda i, n: min(max(i, 0), n - 1),
    "wrap": lambda i, n: i % n,
}


def _quotient(a: Any, b: Any) -> Any:
    return a / b if b else mp().nan if not a or mp().isnan(a) else mp().inf * mp().sign(a)


_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Pow: operator.pow,
    ast.Div: _quotient, ast.FloorDiv: lambda a, b: mp().floor(a / b),
}  # fmt: skip
_VALUE: dict[type, Callable[[Env, Any, Scope], Any]] = {
    ast.Constant: lambda env, node, scope: _constant(node),
    ast.Name: Env._name,
    ast.UnaryOp: lambda env, node, scope: -env.value(node.operand, scope),
    ast.BinOp: Env._operation,
    ast.Compare: lambda env, node, scope: mp().mpf(env.holds(node, scope)),
    ast.BoolOp: lambda env, node, scope: mp().mpf(env.holds(node, scope)),
    ast.Subscript: Env._read,
    ast.Call: Env._call,
}


def apply(name: str, args: list[Any]) -> Any:
    """Return the value of a function of the language."""
    m = mp()
    x = args[0]
    match name:
        case "max" | "min":
            return {"max": max, "min": min}[name](args)
        case "log":
            return m.log(x) if x > 0 else (-m.inf if x == 0 else m.nan)
        case "sigma":
            return 1 / (1 + m.exp(-x))
        case "Phi":
            return (1 + m.erf(x / m.sqrt(2))) / 2
        case "phi":
            return m.exp(-x * x / 2) / m.sqrt(2 * m.pi)
        case "abs":
            return abs(x)
        case "single":
            return number(np.float32(float(x)))
    return getattr(m, name)(x)


def _product(terms: list[Any]) -> Any:
    result = mp().mpf(1)
    for term in terms:
        result *= term
    return result


_REDUCE: dict[str, Callable[[list], Any]] = {
    "sum": lambda terms: mp().fsum(terms),
    "prod": _product,
    "largest": max,
    "mean": lambda terms: mp().fsum(terms) / len(terms),
}
