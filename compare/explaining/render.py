"""Print a formula: as LaTeX, as Unicode, and as Unicode with a run's numbers put in."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from compare.explaining.evaluate import Env, Index, Scope, flat
from compare.explaining.language import (
    INDEX_FUNCTIONS,
    element,
    function_of,
    is_reduction,
    parts,
    reduction,
)

SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4  # how tightly a piece of text holds together
SHOWN = 3  # terms of a sum that are written out, and the last
Symbols = Mapping[str, Mapping[str, str]]

COMPARE = {
    ast.Gt: (">", ">"), ast.Lt: ("<", "<"), ast.GtE: (r"\ge", "≥"), ast.LtE: (r"\le", "≤"),
    ast.Eq: ("=", "="), ast.NotEq: (r"\ne", "≠"),
}  # fmt: skip
LATEX_FUNCTIONS = {
    "exp": r"\exp", "log": r"\log", "tanh": r"\tanh", "sigma": r"\sigma", "Phi": r"\Phi",
    "sin": r"\sin", "cos": r"\cos", "phi": r"\varphi", "sign": r"\operatorname{sign}",
    "max": r"\max", "min": r"\min", "single": r"\operatorname{single}",
    "tan": r"\tan", "sinh": r"\sinh", "cosh": r"\cosh", "fold": r"\operatorname{fold}",
    **{n: rf"\operatorname{{ar{n[1:]}}}" for n in ("asinh", "acosh", "atanh")},
    **{n: rf"\arc{n[1:]}" for n in ("asin", "acos", "atan")}, "floor": r"\operatorname{floor}",
    **{n: rf"\operatorname{{{n}}}" for n in INDEX_FUNCTIONS},
}  # fmt: skip
PLAIN_FUNCTIONS = {"sigma": "σ", "Phi": "Φ", "phi": "φ"}
SIGNS = {
    "sum": (r"\sum", "Σ"), "prod": (r"\prod", "Π"), "largest": (r"\max", "max"),
    "mean": (r"\operatorname{mean}", "mean"),
}  # fmt: skip


class Plain:
    """Prints Unicode: `Σ_n δ[n,o]·x[n,i]`."""

    times, minus, also, sign = "·", "−", " ∧ ", 1

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols

    def text(self, node: ast.expr, scope: Scope | None = None) -> str:
        return self._print(node, scope or {})[0]

    def _print(self, node: ast.expr, scope: Scope) -> tuple[str, int]:
        """Return the text of a node and how tightly it holds together."""
        match node:
            case ast.Constant(value=value):
                return str(value), ATOM
            case ast.Name(id=name):
                return self.name(name, scope)
            case ast.Subscript():
                return self.element(*element(node), scope)
            case ast.UnaryOp(operand=operand):
                return self.minus + self._within(operand, PRODUCT, scope), SUM
            case ast.BinOp():
                return self._binary(node, scope)
            case ast.Compare() | ast.BoolOp():
                return f"[{self.condition(node, scope)}]", ATOM
            case ast.Call():
                return self._call(node, scope)
        raise TypeError(ast.dump(node))

    def _within(self, node: ast.expr, least: int, scope: Scope) -> str:
        """Print a part of something larger, in brackets if it would fall apart there."""
        text, level = self._print(node, scope)
        return text if level >= least else self.brackets(text)

    def brackets(self, text: str) -> str:
        return f"({text})"

    def _binary(self, node: ast.BinOp, scope: Scope) -> tuple[str, int]:
        left, right = node.left, node.right
        match node.op:
            case ast.Add():
                return f"{self._within(left, SUM, scope)} + {self._within(right, SUM, scope)}", SUM
            case ast.Sub():
                a, b = self._within(left, SUM, scope), self._within(right, PRODUCT, scope)
                return f"{a} {self.minus} {b}", SUM
            case ast.Mult():
                a, b = self._within(left, PRODUCT, scope), self._within(right, PRODUCT, scope)
                return a + self.times + b, PRODUCT
            case ast.Div():
                return self.quotient(left, right, scope), PRODUCT
            case ast.FloorDiv():
                return self.floor(self.quotient(left, right, scope)), ATOM
        return self.power(left, right, scope), POWER

    def quotient(self, above: ast.expr, below: ast.expr, scope: Scope) -> str:
        return f"{self._within(above, PRODUCT, scope)} / {self._within(below, POWER, scope)}"

    def floor(self, text: str) -> str:
        return f"⌊{text}⌋"

    def power(self, base: ast.expr, exponent: ast.expr, scope: Scope) -> str:
        square = isinstance(exponent, ast.Constant) and exponent.value in (2, 3)
        up = "²³"[exponent.value - 2] if square else "^" + self._within(exponent, ATOM, scope)  # type: ignore[attr-defined,operator]
        return self._within(base, ATOM, scope) + up

    def name(self, name: str, scope: Scope) -> tuple[str, int]:
        """Print a name; an index that has its value already prints that."""
        if name in scope:
            return index_text(scope[name]), ATOM
        return self.symbols.get(name, {}).get("plain", name), ATOM

    def element(self, name: str, at: tuple[ast.expr, ...], scope: Scope) -> tuple[str, int]:
        inside = ",".join(self.text(i, scope) for i in at)
        return f"{self.name(name, {})[0]}[{inside}]", ATOM

    def condition(self, node: ast.expr, scope: Scope) -> str:
        return self.also.join(self.comparison(part, scope) for part in parts(node))

    def comparison(self, node: ast.Compare, scope: Scope) -> str:
        text = self.text(node.left, scope)
        for op, side in zip(node.ops, node.comparators, strict=True):
            text += f" {COMPARE[type(op)][self.sign]} {self.text(side, scope)}"
        return text

    def _call(self, node: ast.Call, scope: Scope) -> tuple[str, int]:
        name = function_of(node)
        if is_reduction(node):
            return self.reduced(node, scope)
        if name == "cases":
            return self.cases(node.args, scope)
        return self.function(name, node.args, scope)

    def reduced(self, node: ast.Call, scope: Scope) -> tuple[str, int]:
        index, condition, body = reduction(node)
        under = index if condition is None else f"({self.condition(condition, scope)})"
        sign = SIGNS[function_of(node)][1]
        return f"{sign}_{under} {self._within(body, PRODUCT, scope)}", PRODUCT

    def cases(self, args: list[ast.expr], scope: Scope) -> tuple[str, int]:
        condition, yes, no = args
        a, b = self.text(yes, scope), self.text(no, scope)
        return f"{a} if {self.condition(condition, scope)}, else {b}", 0

    def function(self, name: str, args: list[ast.expr], scope: Scope) -> tuple[str, int]:
        inside = ", ".join(self.text(a, scope) for a in args)
        if name == "sqrt":
            return "√" + self._within(args[0], ATOM, scope), POWER
        if name == "abs":
            return f"|{inside}|", ATOM
        return f"{PLAIN_FUNCTIONS.get(name, name)}({inside})", ATOM


class Latex(Plain):
    r"""Prints LaTeX: `\sum_{n} \delta_{no} \, x_{ni}`."""

    times, minus, also, sign = r" \, ", "-", r" \wedge ", 0

    def brackets(self, text: str) -> str:
        return rf"\left( {text} \right)"

    def quotient(self, above: ast.expr, below: ast.expr, scope: Scope) -> str:
        return rf"\frac{{{self.text(above, scope)}}}{{{self.text(below, scope)}}}"

    def floor(self, text: str) -> str:
        return rf"\left\lfloor {text} \right\rfloor"

    def power(self, base: ast.expr, exponent: ast.expr, scope: Scope) -> str:
        return f"{self._within(base, ATOM, scope)}^{{{self.text(exponent, scope)}}}"

    def name(self, name: str, scope: Scope) -> tuple[str, int]:
        return self.symbols.get(name, {}).get("latex", name), ATOM

    def element(self, name: str, at: tuple[ast.expr, ...], scope: Scope) -> tuple[str, int]:
        letters = all(isinstance(i, ast.Name) and len(i.id) == 1 for i in at)
        under = ("" if letters else ", ").join(self.text(i, scope) for i in at)
        of = self.symbols.get(name, {}).get("gradient_of")
        if of is not None:
            return rf"\frac{{\partial L}}{{\partial {of}_{{{under}}}}}", ATOM
        return f"{self.name(name, {})[0]}_{{{under}}}", ATOM

    def reduced(self, node: ast.Call, scope: Scope) -> tuple[str, int]:
        index, condition, body = reduction(node)
        under = index if condition is None else self.condition(condition, scope)
        sign = SIGNS[function_of(node)][0]
        return f"{sign}_{{{under}}} {self._within(body, PRODUCT, scope)}", PRODUCT

    def cases(self, args: list[ast.expr], scope: Scope) -> tuple[str, int]:
        condition, yes, no = args
        rows = (
            rf"{self.text(yes, scope)} & {self.condition(condition, scope)} \\ "
            rf"{self.text(no, scope)} & \text{{else}}"
        )
        return rf"\begin{{cases}} {rows} \end{{cases}}", ATOM

    def function(self, name: str, args: list[ast.expr], scope: Scope) -> tuple[str, int]:
        inside = ", ".join(self.text(a, scope) for a in args)
        if name == "sqrt":
            return rf"\sqrt{{{inside}}}", ATOM
        if name == "abs":
            return rf"\left| {inside} \right|", ATOM
        if name == "exp":
            return f"e^{{{inside}}}", POWER
        return rf"{LATEX_FUNCTIONS[name]}\left( {inside} \right)", ATOM


class Numbers(Plain):
    """Prints a run's numbers in a formula's place; sums by their first terms and the last.

    `used` collects the defined elements that appear, in order: what they are is shown after.
    """

    def __init__(self, symbols: Symbols, env: Env) -> None:
        super().__init__(symbols)
        self.env = env
        self.used: dict[tuple[str, tuple[Index, ...]], None] = {}
        self.counts: list[int] = []  # terms of each sum that is not written out whole
        self._inside = 0  # how many sums deep: only the outermost are written out

    def name(self, name: str, scope: Scope) -> tuple[str, int]:
        if name in scope:
            return index_text(scope[name]), ATOM
        if name in self.env.definitions:
            self.used[name, ()] = None
            return self._number(self.env.element(name, ()))
        if name in self.env.arrays:
            return self._number(self.env.element(name, ()))
        return self._number(self.env.scalars[name])

    def element(self, name: str, at: tuple[ast.expr, ...], scope: Scope) -> tuple[str, int]:
        indices = tuple(self.env.index(i, scope) for i in at)
        if name in self.env.definitions:
            self.used[name, indices] = None
        return self._number(self.env.element(name, indices))

    def comparison(self, node: ast.Compare, scope: Scope) -> str:
        if len(node.ops) == 1 and not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            return super().comparison(node, scope)
        text = index_text(self.env.index(node.left, scope))
        for op, side in zip(node.ops, node.comparators, strict=True):
            text += f" {COMPARE[type(op)][1]} {index_text(self.env.index(side, scope))}"
        return text

    def function(self, name: str, args: list[ast.expr], scope: Scope) -> tuple[str, int]:
        if name in INDEX_FUNCTIONS:
            call = ast.Call(ast.Name(name, ast.Load()), args, [])
            return index_text(self.env.index(call, scope)), ATOM
        return super().function(name, args, scope)

    def cases(self, args: list[ast.expr], scope: Scope) -> tuple[str, int]:
        condition, yes, no = args
        return self._print(yes if self.env.holds(condition, scope) else no, scope)

    def reduced(self, node: ast.Call, scope: Scope) -> tuple[str, int]:
        if self._inside:
            return self._number(self.env.value(node, scope))
        body = reduction(node)[2]
        scopes = list(self.env.scopes(node, scope))
        name = function_of(node)
        shown = self._chosen(body, scopes) if name in ("sum", "mean") else scopes
        self._inside += 1
        terms = [self._within(body, PRODUCT, inner) for inner in shown]
        self._inside -= 1
        if len(shown) < len(scopes):
            terms.insert(-1, "…")
            self.counts.append(len(scopes))
        if name == "largest":
            return f"max({', '.join(terms)})", ATOM
        if name == "prod":
            return "·".join(terms) or "1", PRODUCT
        if name == "mean":
            return f"({' + '.join(terms)}) / {len(scopes)}", PRODUCT
        return " + ".join(terms) or "0", SUM if len(terms) > 1 else PRODUCT

    def _chosen(self, body: ast.expr, scopes: list[Scope]) -> list[Scope]:
        """Return the first terms that are not zero and the last; all if they are few."""
        if len(scopes) <= SHOWN + 2:
            return scopes
        first = list(islice(self._nonzero(body, scopes), SHOWN))
        last = list(islice(self._nonzero(body, scopes[::-1]), 1))
        some = [*first, *(scope for scope in last if scope not in first)]
        return some if len(some) > 1 else [*scopes[:SHOWN], scopes[-1]]

    def _nonzero(self, body: ast.expr, scopes: list[Scope]) -> Iterator[Scope]:
        return (scope for scope in scopes if self.env.value(body, scope) != 0)

    def _number(self, x: Any) -> tuple[str, int]:
        text = short(x)
        return text, ATOM if text[0] != "-" else SUM - 1


def short(x: Any) -> str:
    """Return a number to six digits."""
    return f"{float(x):.6g}"


def index_text(at: Index) -> str:
    return ",".join(map(str, flat((at,))))
