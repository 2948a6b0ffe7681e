"""Text into terms, by Python's own grammar; nothing is evaluated, and little is allowed."""

from __future__ import annotations

import ast
import difflib
import operator
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from manual.expression.functions import FUNCTIONS
from manual.expression.terms import Operand, Term, term

LONGEST = 10_000  # characters
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.MatMult: operator.matmul, ast.Pow: operator.pow,
}  # fmt: skip
SIGNS: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
REFUSED = {
    ast.Attribute: "attribute access (a dot)", ast.Subscript: "indexing", ast.Compare: "comparing",
    ast.BoolOp: "and / or", ast.IfExp: "if … else", ast.Lambda: "a function of your own",
    ast.List: "a list", ast.Tuple: "a comma", ast.NamedExpr: "an assignment", ast.Dict: "braces",
    ast.Starred: "a star before an argument", ast.JoinedStr: "text", ast.Set: "braces",
}  # fmt: skip
ALLOWED = "Allowed are names, numbers, + - * / @ **, parentheses and functions."


class ExpressionError(ValueError):
    """A formula that cannot be read: what is wrong, and at which column."""


def parse(text: str) -> Term:
    """Return the term that a formula such as "(x + y) * z" stands for.

    A name is an input; used twice, it is one input with two branches.

    Raises:
        ExpressionError: anything but names, numbers, operators and known functions.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"The expression has {len(text)} characters; {LONGEST} are allowed.")
    text = " ".join(text.split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "1if x", say; it is refused below
            tree = ast.parse(text, mode="eval")
        return _Reader(text).term(tree.body)
    except SyntaxError as error:
        _refuse_syntax(text, error)
    except (RecursionError, MemoryError):
        raise ExpressionError("The expression is nested too deeply. Split it.") from None
    except ExpressionError:
        raise
    except ValueError as error:  # null bytes
        raise ExpressionError(f"The expression cannot be read: {error}.") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.inputs = text, {}  # type: ignore[var-annotated]

    def term(self, node: ast.expr) -> Term:
        return term(self.read(node))

    def read(self, node: ast.expr) -> Operand:
        """Return the term of a node, or a number; numbers among themselves are worked out."""
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return self.number(node, lambda: float(node.value))  # type: ignore[arg-type]
            case ast.Name(id=name):
                return self.input(node, name)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in SIGNS:
                return SIGNS[type(op)](self.read(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                a, b = self.read(left), self.read(right)
                return self.number(node, lambda: OPERATORS[type(op)](a, b))
            case ast.Call():
                return self.call(node)
        self.refuse(node)

    def number(self, node: ast.expr, compute: Callable[[], Operand]) -> Operand:
        """Return what an operator gives; a number must be a finite real one."""
        try:
            found = compute()
        except (ArithmeticError, TypeError, ValueError) as error:
            self.fail(node, f"cannot be worked out: {error}")
        if not isinstance(found, Term) and not _is_finite(found):
            self.fail(node, "is no finite real number")
        return found

    def input(self, node: ast.expr, name: str) -> Term:
        if name in FUNCTIONS:
            self.fail(node, f"is a function: write {name}(…), or choose another name")
        return self.inputs.setdefault(name, Term(None, name=name))

    def call(self, node: ast.Call) -> Operand:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name is None:
            self.refuse(node.func)
        if name not in FUNCTIONS:
            self.fail(node, f"calls an unknown function. {nearest(name, FUNCTIONS, 'Functions')}")
        least, most = (2, LONGEST) if name == "max" else (1, 1)
        if node.keywords or not least <= len(node.args) <= most:
            takes = "two or more arguments" if name == "max" else "one argument"
            self.fail(node, f"does not fit: {name} takes {takes}, without names")
        arguments = [self.read(argument) for argument in node.args]
        return self.number(node, lambda: FUNCTIONS[name](*arguments))

    def refuse(self, node: ast.expr) -> NoReturn:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            self.fail(node, "uses ^, which is no power here: write **")
        what = REFUSED.get(type(node))
        self.fail(node, f"is not allowed{f' ({what})' if what else ''}. {ALLOWED}")

    def fail(self, node: ast.expr, what: str) -> NoReturn:
        before = self.text.encode()[: node.col_offset].decode()
        part = ast.get_source_segment(self.text, node) or self.text
        raise ExpressionError(
            f"Column {len(before) + 1} of \"{self.text}\": '{part}' {what.rstrip('.')}."
        ) from None


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """Return a sentence with the name closest to an unknown one, and all known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    return f"{guess}{what}: {', '.join(names)}."


def _is_finite(x: Any) -> bool:
    return isinstance(x, float) and abs(x) < float("inf")


def _refuse_syntax(text: str, error: SyntaxError) -> NoReturn:
    hint = " An expression assigns nothing: leave out the =." if "=" in text else ""
    what = error.msg.partition(". ")[0].rstrip(".")
    raise ExpressionError(
        f'Column {error.offset or 1} of "{text}": {what}.{hint} {ALLOWED}'
    ) from None
