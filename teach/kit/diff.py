"""What changed in the code: a unified diff of the sources of functions and classes."""

from __future__ import annotations

import ast
import difflib
import inspect
import linecache
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teach.kit.show import Shown, show
from teach.kit.words import _

LESSONS = Path(__file__).parents[2] / "lessons"

Code = Any  # a function, a class, source text, or a sequence of these


def source_of(code: Code) -> str:
    """Return the source text, dedented; of several things, one after the other.

    Classes are found through one of their methods: inspect cannot find a class of a notebook.
    """
    if isinstance(code, str):
        return textwrap.dedent(code).strip("\n") + "\n"
    if isinstance(code, Sequence):
        return "\n\n".join(source_of(part) for part in code)
    if inspect.isclass(code):
        return textwrap.dedent(_class_source(code))
    return textwrap.dedent(inspect.getsource(code))


def code_of(lesson: str, *names: str) -> str:
    """Return the source of functions and classes that another lesson defines, in the order named.

    Raises:
        ValueError: the lesson does not define one of them.
    """
    text = (LESSONS / f"{lesson}.py").read_text("utf-8")
    defined = {
        node.name: ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    missing = [name for name in names if name not in defined]
    if missing:
        raise ValueError(f"{lesson}.py does not define {missing}; it has {sorted(defined)}.")
    return source_of([defined[name] for name in names])


def code_diff(before: Code, after: Code, *, names: tuple[str, str] = ("before", "after")) -> None:
    """Show the unified diff from one stage's code to the next one's.

    Raises:
        ValueError: nothing changed.
    """
    old, new = source_of(before).splitlines(), source_of(after).splitlines()
    stages = [_(name) for name in names]
    lines = list(difflib.unified_diff(old, new, stages[0], stages[1], lineterm="", n=99))
    if not lines:
        raise ValueError(f"code_diff: {names[0]} and {names[1]} are the same code.")
    shown = [line for line in lines if not line.startswith("@@")]
    added = sum(line.startswith("+") for line in shown[2:])
    removed = sum(line.startswith("-") for line in shown[2:])
    total = _("{removed} lines out, {added} in; {old} lines became {new}.").format(
        removed=removed, added=added, old=len(old), new=len(new)
    )
    text = "\n".join([*shown, total])
    show(Shown(text, markdown=f"```diff\n{text}\n```"))


def _class_source(cls: type) -> str:
    for member in vars(cls).values():
        code = getattr(getattr(member, "__func__", member), "__code__", None)
        if code is None:
            continue
        text = "".join(linecache.getlines(code.co_filename))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                segment = ast.get_source_segment(text, node, padded=True)
                if segment is not None:
                    return segment + "\n"
    return inspect.getsource(cls)
