"""The hand-written lines that compute a quantity: real source, with what matters marked."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

DEPTH = 2  # functions called by marked lines are shown too, this deep
IGNORE = re.compile(r"\s+# type: ignore\S*$")
UNSHOWN = ("check", "_check", "self.check", "usable", "nonnegative", "_nonnegative")  # no formula


@dataclass(frozen=True)
class Listing:
    """A function's source without docstring and refusals: each line's number and text, and whether
    the quantity depends on it.
    """

    title: str
    file: str
    lines: tuple[tuple[int, str, bool], ...]
    statements: tuple[tuple[int, int], ...] = ()  # the marked ones: first and last line

    def taken(self, ran: set[tuple[str, int]]) -> Listing:
        """Return the listing with only those statements marked that were executed."""
        on = {
            n
            for first, last in self.statements
            if any((self.file, k) in ran for k in range(first, last + 1))
            for n in range(first, last + 1)
        }
        return replace(self, lines=tuple((n, text, m and n in on) for n, text, m in self.lines))


def listings(pieces: Iterable[Any]) -> tuple[Listing, ...]:
    """Return the listings of the methods that the pieces name, and of what these call."""
    found: dict[str, Listing] = {}
    for piece in pieces:
        function = getattr(type(piece.owner), piece.method)
        ran = executed(piece.rerun)
        for listing in _with_helpers(type(piece.owner), function, piece.role, DEPTH):
            taken = listing.taken(ran) if ran else listing
            if any(on for _, _, on in taken.lines):
                found.setdefault(listing.title, taken)
    return tuple(found.values())


def executed(rerun: Callable[[], Any]) -> set[tuple[str, int]]:
    """Return the (file, line) of the hand-written package that a call executes."""
    ran: set[tuple[str, int]] = set()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if "manual" not in Path(frame.f_code.co_filename).parts:
            return None
        if event == "line":
            ran.add((_place(frame.f_code.co_filename), frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        rerun()
    except Exception:  # what it raised is told elsewhere
        pass
    finally:
        sys.settrace(before)
    return ran


def _place(path: str) -> str:
    """Return a file's path inside the hand-written package."""
    parts = Path(path).parts
    return "/".join(parts[len(parts) - 1 - parts[::-1].index("manual") :]) if (
        "manual" in parts
    ) else ""  # fmt: skip


def _with_helpers(owner: type, function: Callable, role: str, depth: int) -> list[Listing]:
    listing, called = sliced(function, role)
    shown = [listing]
    for name in called if depth else ():
        helper = _helper(owner, function, name)
        if helper is not None and helper is not function:
            shown += _with_helpers(owner, helper, role, depth - 1)
    return shown


def _helper(owner: type, function: Callable, name: str) -> Callable | None:
    """Return a method, or a function of the hand-written package, by the name that it is called."""
    found = getattr(owner, name.removeprefix("self."), None) if name.startswith("self.") else (
        inspect.unwrap(function).__globals__.get(name)
    )  # fmt: skip
    ours = inspect.isfunction(found) and found.__module__.partition(".")[0] == "manual"
    return found if ours and not name.startswith(UNSHOWN) else None


@cache
def sliced(function: Callable, role: str) -> tuple[Listing, tuple[str, ...]]:
    """Return a function's listing for a role, and the names that its marked lines call."""
    source, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(source))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    statements = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    spans, called = _slice(statements, role)
    marked = {n for begin, end in spans for n in range(begin, end + 1)}
    begin = statements[0].lineno if statements else 1
    signature = range(1, (tree.body[0].lineno if tree.body else 2))
    numbers = [*signature, *range(begin, len(source) + 1)]
    text = textwrap.dedent("".join(source)).splitlines()
    omitted = _refusals(statements)
    lines = tuple(
        (first + n - 1, IGNORE.sub("", text[n - 1]), n in marked)
        for n in dict.fromkeys(numbers)
        if n not in omitted
    )
    place = _place(inspect.getsourcefile(function) or "")
    shifted = tuple(sorted((first + a - 1, first + b - 1) for a, b in spans))
    return Listing(function.__qualname__, place, lines, shifted), called


def _refusals(statements: list[ast.stmt]) -> set[int]:
    """Return the lines of checks that only refuse unusable arguments."""
    return {
        n
        for s in statements
        if isinstance(s, ast.If) and not s.orelse and isinstance(s.body[-1], ast.Raise)
        for n in range(s.lineno, (s.end_lineno or s.lineno) + 1)
    }


def _slice(statements: list[ast.stmt], role: str) -> tuple[set[tuple[int, int]], tuple[str, ...]]:
    """Mark the statements whose values reach a role's result, back from what is returned."""
    simple = [s for s in _walk(statements) if not isinstance(s, ast.Raise)]
    wanted: set[str] = set()
    marked: set[tuple[int, int]] = set()
    called: dict[str, None] = {}

    def take(node: ast.AST, parts: Iterable[ast.AST]) -> None:
        for part in parts:
            for name in _names(part):
                wanted.add(name)
            called.update(dict.fromkeys(_calls(part)))
        marked.add((node.lineno, node.end_lineno or node.lineno))  # type: ignore[attr-defined]

    for statement in simple:
        if isinstance(statement, ast.Return) and statement.value is not None:
            take(statement, _result(statement.value, role))
    before = -1
    while before != len(marked):
        before = len(marked)
        for statement in reversed(simple):
            targets, value = _assignment(statement)
            if targets & wanted and _concerns(statement, value, role):
                take(statement, [_entry(value, role)])
    return marked, tuple(called)


def _walk(statements: list[ast.stmt]) -> Iterable[ast.stmt]:
    for statement in statements:
        yield statement
        for block in ("body", "orelse"):
            yield from _walk(getattr(statement, block, []))


def _result(value: ast.expr, role: str) -> list[ast.AST]:
    """Return the part of what is returned that a role is about."""
    if not (isinstance(value, ast.Tuple) and len(value.elts) == 2):
        return [_entry(value, role)]
    first, second = value.elts
    rest = role.startswith(("grad:", "state:"))
    return [_entry(second, role)] if rest else [first]


def _entry(value: ast.AST, role: str) -> ast.AST:
    """Return the entry of a dictionary that a role names; the whole if it is none."""
    key = role.partition(":")[2]
    if key and isinstance(value, ast.Dict):
        for k, v in zip(value.keys, value.values, strict=True):
            if isinstance(k, ast.Constant) and k.value == key:
                return v
    return value


def _concerns(statement: ast.stmt, value: ast.AST, role: str) -> bool:
    """Return whether an assignment to `grads["bias"]` or the like is about this role."""
    key = role.partition(":")[2]
    for target in getattr(statement, "targets", []):
        if key and isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            return target.slice.value == key
    keys = [k.value for k in value.keys if isinstance(k, ast.Constant)] if isinstance(
        value, ast.Dict
    ) else []  # fmt: skip
    return not (key and keys) or key in keys


def _assignment(statement: ast.stmt) -> tuple[set[str], ast.AST]:
    """Return the names that a statement gives values to, and where from."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            return {n for t in targets for n in _names(t)}, value
        case ast.AugAssign(target=target, value=value):
            return set(_names(target)), value
        case ast.AnnAssign(target=target, value=value) if value is not None:
            return set(_names(target)), value
    return set(), statement


def _names(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id != "self"]


def _calls(node: ast.AST) -> list[str]:
    """Return what is called: `helper`, or `self.method`."""
    found = []
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            text = ast.unparse(call.func)
            found.append(text)
    return found
