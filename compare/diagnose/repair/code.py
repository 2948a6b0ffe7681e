"""A user's function as a syntax tree whose changes can be run in its place."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType
from typing import Any

MOST_HELPERS = 6


class Code:
    """One function: its tree, and a way to run what the tree says.

    Raises:
        ValueError: the source is not to be had, or is no `def`.
    """

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        try:
            lines, self.first = inspect.getsourcelines(function)
            self.module = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError) as error:
            raise ValueError(str(error)) from error
        found = next(iter(self.module.body), None)
        if not isinstance(found, ast.FunctionDef) or _waits(found):
            raise ValueError("no function, or one with a loop that may never end")
        found.decorator_list = []
        self.tree, self.around = found, self._around()

    def line(self, statement: ast.stmt) -> int:
        """Return the statement's line in the user's file."""
        return self.first + statement.lineno - 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the tree as it is now in place of the function."""
        before = self.function.__code__
        self.function.__code__ = self._compiled()
        try:
            yield
        finally:
            self.function.__code__ = before

    def _around(self) -> ast.Module:
        """Return the tree in a function around it, whose arguments are its free variables."""
        free = self.function.__code__.co_freevars
        around = ast.parse(f"def around({', '.join(free)}):\n    pass")
        around.body[0].body = [*self.module.body, *_uses(free)]  # type: ignore[attr-defined]
        return ast.fix_missing_locations(around)

    def _compiled(self) -> CodeType:
        """Compile the tree; what an edit has put into it has lines of its own."""
        code = compile(self.around, self.function.__code__.co_filename, "exec")
        return _inner(_inner(code, "around"), self.tree.name)


@contextmanager
def watching(codes: list[Code]) -> Iterator[dict[CodeType, dict[str, Any]]]:
    """Collect the variables that functions end with while this lasts."""
    found: dict[CodeType, dict[str, Any]] = {}
    wanted = {code.function.__code__ for code in codes}

    def seen(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code in wanted:
            found[frame.f_code] = dict(frame.f_locals)

    if sys.getprofile() is not None:  # somebody else is watching
        yield found
        return
    sys.setprofile(seen)
    try:
        yield found
    finally:
        sys.setprofile(None)


def _waits(tree: ast.AST) -> bool:
    return any(isinstance(n, ast.While | ast.Yield | ast.Await) for n in ast.walk(tree))


def _uses(names: tuple[str, ...]) -> list[ast.stmt]:
    return [ast.Expr(ast.Name(name, ast.Load())) for name in names]


def _inner(code: CodeType, name: str) -> CodeType:
    return next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)


def functions_of(main: Any, owner: Any = None) -> list[Code]:
    """Return a user's function and the helpers in the same file that it calls, itself first."""
    found: list[Code] = []
    waiting, seen = [getattr(main, "__func__", main)], set()
    while waiting and len(found) < MOST_HELPERS:
        function = waiting.pop(0)
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        waiting += _called(function, main, owner)
        try:
            found.append(Code(function))
        except ValueError:
            continue
    return found


def _called(function: FunctionType, main: Any, owner: Any) -> list[Callable]:
    here = function.__code__.co_filename
    known = [function.__globals__.get(n) for n in function.__code__.co_names]
    known += [getattr(owner, n, None) for n in function.__code__.co_names if owner is not None]
    return [f for f in known if isinstance(f, FunctionType) and f.__code__.co_filename == here]
