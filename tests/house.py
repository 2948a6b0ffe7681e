"""The plan of the house, read from its sources: which module imports which, circles, rooms.

Imports at module level and inside functions count alike; those under `if TYPE_CHECKING:` do not.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

Sources = Mapping[str, str]  # the path of a file below the root -> its text
Imports = dict[str, set[str]]  # module -> what it imports

PACKAGES = ("manual", "torch_ref", "compare", "teach", "evidence", "handgrad")
LEARNERS = "/built_in/"  # exercises: files for learners, not modules


def sources(root: Path, packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Read every module of these packages."""
    files = [f for package in packages for f in sorted((root / package).rglob("*.py"))]
    named = {f.relative_to(root).as_posix(): f for f in files}
    return {name: f.read_text("utf-8") for name, f in named.items() if LEARNERS not in name}


def module(file: str) -> str:
    """Return a file's dotted name.

    >>> module("compare/judge/__init__.py"), module("compare/errors.py")
    ('compare.judge', 'compare.errors')
    """
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Imports(ast.NodeVisitor):
    """Collects the dotted names that a module imports, however it does so."""

    def __init__(self, package: str) -> None:
        self.package, self.found = package, list[str]()

    def visit_If(self, node: ast.If) -> None:
        typing_only = "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.orelse if typing_only else [*node.body, *node.orelse]:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parts = self.package.split(".")
        above = parts[: len(parts) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        self.found += [f"{base}.{alias.name}" for alias in node.names]

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        match node.args:
            case [ast.Constant(value=str(text)), *_] if name in ("import_module", "__import__"):
                self.found.append(text)
        self.generic_visit(node)


@cache
def imported(file: str, text: str) -> list[str]:
    """Return the dotted names a file imports: `from a import b` is `a.b`, module or not."""
    name = module(file)
    visitor = _Imports(name if file.endswith("__init__.py") else name.rpartition(".")[0])
    visitor.visit(ast.parse(text))
    return visitor.found


def plan(files: Sources) -> Imports:
    """Return which of these modules imports which of them."""
    names = {module(file) for file in files}
    found: Imports = {}
    for file, text in files.items():
        own = module(file)
        homes = {_home(name, names) for name in imported(file, text)}
        found[own] = {home for home in homes if home not in ("", own)}
    return found


def _home(name: str, modules: Collection[str]) -> str:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def circles(files: Sources) -> list[list[str]]:
    """Return every set of modules that import each other, straight or through others.

    A package's face may name its own modules, and they may ask it: a set with one module beside
    faces is none.
    """
    imports = plan(files)
    reached = {name: _reached(name, imports) for name in imports}
    faces = {module(file) for file in files if file.endswith("__init__.py")}
    sets = {frozenset(o for o in reached[n] if n in reached[o]) for n in imports}
    return sorted(sorted(s) for s in sets if len(s - faces) > 1)


def _reached(start: str, imports: Imports) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def closed(files: Sources, shut: Mapping[str, Collection[str]]) -> list[str]:
    """Return `file imports name` wherever a package imports from one that is closed to it."""
    return [
        f"{file} imports {name}"
        for file, text in files.items()
        for name in imported(file, text)
        if name.partition(".")[0] in shut.get(file.partition("/")[0], ())
    ]


def rooms(files: Sources, package: str) -> list[str]:
    """Return what a newcomer sees at the top of a package, its face left out."""
    tops = {file.split("/")[1] for file in files if file.startswith(f"{package}/")}
    return sorted(top.removesuffix(".py") for top in tops - {"__init__.py"})


def upward(files: Sources, package: str, order: list[str]) -> list[str]:
    """Return `importer -> imported` wherever a room imports from one that comes later."""
    return [
        f"{importer} -> {target}"
        for importer, targets in plan(files).items()
        for target in sorted(targets)
        if importer.partition(".")[0] == package
        and _rank(importer, package, order) < _rank(target, package, order)
    ]


def _rank(name: str, package: str, order: list[str]) -> int:
    top, *rest = name.split(".")
    if top != package:
        return -1
    room = rest[0] if rest else ""  # the face comes last: it may name every room
    return order.index(room) if room in order else len(order)


def story(docstring: str) -> list[str]:
    """Read the rooms' order from a package's docstring: lines that begin with `room:`.

    >>> story("The house.\\n\\n    errors: told\\n    gauge: derived\\n")
    ['errors', 'gauge']
    """
    return list(_told(docstring))


def _told(docstring: str) -> Iterator[str]:
    for line in docstring.splitlines():
        room, colon, _ = line.strip().partition(":")
        if colon and room.isidentifier() and line.startswith("    "):
            yield room
