"""Text into terms, by Python's own grammar; nothing is evaluated, and little is allowed."""

from __future__ import annotations

import ast
import difflib
import operator
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from manual.expression.functions import FUNCTIONS
from manual.expression.terms import Operand, Term, term

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.MatMult: operator.matmul, ast.Pow: operator.pow,
}  # fmt: skip
SIGNS: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
REFUSED: dict[type, str] = {
    ast.Attribute: "attribute access (a dot)", ast.Subscript: "an index",
    ast.Compare: "a comparison", ast.BoolOp: "and / or", ast.IfExp: "if … else",
    ast.Lambda: "a function of your own", ast.List: "a list", ast.Tuple: "a comma",
    ast.NamedExpr: "an assignment", ast.Dict: "a pair of braces", ast.Set: "a pair of braces",
    ast.Starred: "a star before an argument", ast.JoinedStr: "a text",
    ast.BitXor: "a power is written **",
}  # fmt: skip
SEVERAL = ("max",)  # functions of two or more arguments; all others have one
ALLOWED = "Allowed are names, numbers, + - * / @ **, parentheses and functions."


class ExpressionError(ValueError):
    """A formula that cannot be read: what is wrong, and at which column."""


def parse(text: str) -> Term:
    """Return the term that a formula such as "(x + y) * z" stands for.

    A name is an input; used twice, it is one input with two branches.

    Raises:
        ExpressionError: anything but names, numbers, operators and known functions.
    """
    if len(text) > 10_000:
        raise ExpressionError(f"The expression has {len(text)} characters; 10000 are allowed.")
    text = " ".join(text.split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "1if x", say; it is refused below
            tree = ast.parse(text, mode="eval")
        return term(_Reader(text).read(tree.body))
    except SyntaxError as error:
        raise _syntax_error(text, error) from None
    except (RecursionError, MemoryError):
        raise ExpressionError("The expression is nested too deeply. Split it.") from None
    except ExpressionError:
        raise
    except ValueError as error:  # null bytes
        raise ExpressionError(f"The expression cannot be read: {error}.") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, node: ast.expr) -> Operand:
        """Return the term of a node, or a number; numbers among themselves are worked out."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self.number(node, lambda: float(value))
            case ast.Name(id=name):
                return self.input(node, name)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in SIGNS:
                return SIGNS[type(op)](self.read(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                a, b = self.read(left), self.read(right)
                return self.number(node, lambda: OPERATORS[type(op)](a, b))
            case ast.Call():
                return self.call(node)
        raise self.refusal(node)

    def number(self, node: ast.expr, compute: Callable[[], Operand]) -> Operand:
        """Return what an operator gives; a number must be a finite real one."""
        try:
            found = compute()
        except (ArithmeticError, TypeError, ValueError) as error:
            raise self.error(node, f"cannot be worked out: {error}") from None
        if not isinstance(found, Term) and not _is_finite(found):
            raise self.error(node, "is no finite real number")
        return found

    def input(self, node: ast.expr, name: str) -> Term:
        if name in FUNCTIONS:
            raise self.error(node, f"is a function: write {name}(…), or choose another name")
        return Term(None, name=name)

    def call(self, node: ast.Call) -> Operand:
        name = getattr(node.func, "id", "")
        if name not in FUNCTIONS:
            known = nearest(name, FUNCTIONS, "Functions")
            raise self.error(node, " ".join(("calls an unknown function.", known)))
        if node.keywords:
            raise self.error(node, "names an argument: leave out the name and =")
        arguments = [self.read(argument) for argument in node.args]
        if (len(arguments) < 2) if name in SEVERAL else (len(arguments) != 1):
            wanted = "two or more arguments" if name in SEVERAL else "one argument"
            raise self.error(node, f"cannot be worked out: {name} takes {wanted}")
        return self.number(node, lambda: FUNCTIONS[name](*arguments))

    def refusal(self, node: ast.expr) -> ExpressionError:
        kind = type(node.op) if isinstance(node, ast.BinOp | ast.UnaryOp) else type(node)
        what = f" ({REFUSED[kind]})" if kind in REFUSED else ""
        return self.error(node, " ".join((f"is not allowed{what}.", ALLOWED)))

    def error(self, node: ast.expr, what: str) -> ExpressionError:
        before = self.text.encode()[: node.col_offset].decode()
        part = ast.get_source_segment(self.text, node) or self.text
        where = f'Column {len(before) + 1} of "{self.text}"'
        return ExpressionError(f"{where}: '{part}' {what.rstrip('.')}.")


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """Return a sentence with the name closest to an unknown one, and all known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    return f"{guess}{what}: {', '.join(names)}."


def _is_finite(x: Any) -> bool:
    return isinstance(x, float) and abs(x) < float("inf")


def _syntax_error(text: str, error: SyntaxError) -> ExpressionError:
    hints = ["An expression assigns nothing: leave out the =."] if "=" in text else []
    what = error.msg.partition(". ")[0].rstrip(".")
    where = f'Column {error.offset or 1} of "{text}": {what}.'
    return ExpressionError(" ".join((where, *hints, ALLOWED)))
