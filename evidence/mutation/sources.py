"""The modules of `manual/`, and every mutant of each, in a fixed order."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

from compare.errors import UserError, nearest
from evidence.mutation.operators import OPERATORS, found_in
from evidence.mutation.scope import Scope, scopes
from evidence.mutation.tree import (
    Edits,
    applied,
    docstring,
    without_descriptions,
    without_docstrings,
)

PACKAGE = "manual"
WITHOUT_FORMULAS = {  # and every __init__; what is compiled is held to the interpreter bit by bit
    "manual.arguments", "manual.compiled", "manual.nodes", "manual.registry", "manual.training",
}  # fmt: skip
DESCRIPTIONS = ("__init__", "equations", "examples")  # files that say how to try or tell a layer


@dataclass(frozen=True)
class Mutant:
    """One small mistake: where it is, of which kind, and the lines before and after."""

    module: str
    number: int  # in its module
    function: str
    line: int
    operator: str
    before: str
    after: str

    @property
    def diff(self) -> str:
        lines = [
            *(f"-{s}" for s in self.before.split("\n")),
            *(f"+{s}" for s in self.after.split("\n")),
        ]
        return "\n".join(lines)

    @property
    def path(self) -> str:
        return f"{self.module.replace('.', '/')}.py"


@cache
def root() -> Path:
    """Return the directory of the hand-written code."""
    import manual

    return Path(str(manual.__file__)).parent


@cache
def files() -> dict[str, Path]:
    """Return every module of `manual/` with its file."""
    found = {}
    for path in sorted(root().rglob("*.py")):
        parts = path.relative_to(root()).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join((PACKAGE, *names))] = path
    return found


def modules() -> list[str]:
    """Return the modules that hold formulas."""
    plain = {name for name, path in files().items() if path.stem in DESCRIPTIONS}
    return [name for name in files() if name not in plain | WITHOUT_FORMULAS]


def named(wanted: Sequence[str]) -> list[str]:
    """Return modules by name, path or package: `sgd`, `manual/linear.py`, `activations`."""
    chosen = []
    for name in wanted:
        dotted = name.removesuffix(".py").strip("/").replace("/", ".").removeprefix(f"{PACKAGE}.")
        hits = [m for m in modules() if dotted == PACKAGE or f".{dotted}." in f"{m}."]
        if not hits:
            names = [m.removeprefix(f"{PACKAGE}.") for m in modules()]
            raise UserError(
                f"There is no module '{name}' of formulas in manual/. "
                f"{nearest(name, names, what='Modules')}"
            )
        chosen += hits
    return list(dict.fromkeys(chosen)) or modules()


@cache
def tree(module: str) -> ast.Module:
    """Return a module's syntax tree, without docstrings; mutants borrow it one at a time."""
    path = files()[module]
    parsed = ast.parse(path.read_text("utf-8"), str(path))
    return without_descriptions(without_docstrings(parsed))


def source_print(module: str) -> str:
    """Return 16 hexadecimal digits that change with a module's source, docstrings aside."""
    return printed(files()[module].read_text("utf-8"))


def printed(source: str) -> str:
    """Return the digits of a source.

    >>> printed("x = 1") == printed("'What x is.'\\nx = 1") != printed("x = 2")
    True
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        text = docstring(node)
        if text is not None and text.end_lineno is not None:
            lines[text.lineno - 1 : text.end_lineno] = [""] * (text.end_lineno - text.lineno + 1)
    kept = "\n".join(line for line in lines if line.strip())
    return hashlib.sha256(kept.encode()).hexdigest()[:16]


@cache
def _found(module: str) -> tuple[tuple[Mutant, Edits], ...]:
    return tuple(_enumerate(module))


def mutants(module: str) -> list[Mutant]:
    """Return every mutant of a module."""
    return [mutant for mutant, _ in _found(module)]


def compiled(mutant: Mutant) -> CodeType:
    """Return the code of the module with the mistake in it."""
    edits = _found(mutant.module)[mutant.number][1]
    with applied(edits):
        return compile(tree(mutant.module), str(files()[mutant.module]), "exec")


def edits_of(mutant: Mutant) -> Edits:
    """Return the edits of the syntax tree that make a mutant."""
    return _found(mutant.module)[mutant.number][1]


def scope_of(mutant: Mutant) -> Scope:
    """Return the function, class or module that a mutant changes."""
    return next(s for s in _scopes(mutant.module) if s.name == mutant.function)


@cache
def _scopes(module: str) -> list[Scope]:
    return scopes(tree(module))


def _enumerate(module: str) -> Iterator[tuple[Mutant, Edits]]:
    seen: set[tuple[str, str]] = set()
    number = 0
    for scope in _scopes(module):
        original = _text(scope)
        for operator, line, edits in found_in(scope):
            with applied(edits):
                changed = _text(scope)
            if changed == original or (scope.name, changed) in seen:
                continue
            seen.add((scope.name, changed))
            before, after = _changes(original, changed)
            yield Mutant(module, number, scope.name, line, operator, before, after), edits
            number += 1


def _text(scope: Scope) -> str:
    """Print what an edit of this scope can change: the whole class, for it may reach `backward`."""
    node = scope.owner if scope.name.endswith(".forward") and scope.owner else scope.node
    if isinstance(node, ast.ClassDef | ast.Module) and node is scope.node:
        return "\n".join(ast.unparse(s) for s in scope.statements)
    return ast.unparse(node)


def _changes(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, without their indentation; of an exchange, both lines."""
    old, new = before.split("\n"), after.split("\n")
    if sorted(old) == sorted(new):
        moved = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        old, new = ([lines[i] for i in moved] for lines in (old, new))
    else:
        lines = list(difflib.ndiff(old, new))
        old, new = ([line[2:] for line in lines if line[:2] == side] for side in ("- ", "+ "))
    return "\n".join(s.strip() for s in old), "\n".join(s.strip() for s in new)


def known_operators(only: Sequence[str]) -> set[str]:
    """Return the operators named, or all; an unknown one is a UserError."""
    for name in only:
        if name not in OPERATORS:
            known = nearest(name, OPERATORS, what="Operators")
            raise UserError(f"There is no mutation operator '{name}'. {known}")
    return set(only or OPERATORS)
