"""Load a mutant in memory: fresh module objects under the same names, then the old ones again.

Only the mutated module and those that import it are run anew; files are read, never written.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import Any

from evidence.mutation.sources import PACKAGE, files, tree

REGISTRY = "manual.registry"  # imports every module as it is loaded
HARNESS = (
    "compare.pair.manual_side",
    "compare.pair.mirror",
)  # hold hand-written classes: these too


_PREFIXES = tuple(f"{name}." for name in HARNESS)


class Finder(MetaPathFinder, Loader):
    """Serves `manual` from syntax trees instead of files."""

    def __init__(self, codes: dict[str, CodeType]) -> None:
        self.codes = codes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in files():
            return None
        is_package = files()[name].stem == "__init__"
        spec = spec_from_loader(name, self, origin=str(files()[name]), is_package=is_package)
        if spec is not None and is_package:  # where the registry looks for modules
            spec.submodule_search_locations = [str(files()[name].parent)]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        exec(self.codes.get(name) or _original(name), module.__dict__)


@contextmanager
def loaded(module: str | None = None, code: CodeType | None = None) -> Iterator[None]:
    """Let `manual` be a mutant: `module` runs `code`; without arguments the original, anew."""
    fresh = dependents(module) if module else set(files())
    before = {name: sys.modules[name] for name in _held()}
    finder = Finder({module: code} if module and code else {})
    for name in before:
        if name in fresh or not _is_manual(name):
            del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module(PACKAGE)
        for name in sorted(fresh):
            importlib.import_module(name)
        _attach()
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in _held():
            del sys.modules[name]
        sys.modules.update(before)
        for name, old in before.items():
            parent, _, last = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], last, old)


def renew() -> None:
    """Import `manual` anew from its files, for good: whatever a mutant wrote into it is gone."""
    for name in _held():
        del sys.modules[name]
    for name in (PACKAGE, *files()):
        importlib.import_module(name)


def _is_manual(name: str) -> bool:
    return name.split(".")[0] == PACKAGE


def _held() -> list[str]:
    """Return the loaded modules that are hand-written code, or hold classes of it."""
    return [n for n in sys.modules if _is_manual(n) or f"{n}.".startswith(_PREFIXES)]


def _attach() -> None:
    """Make kept submodules attributes of their fresh packages."""
    for name in files():
        parent, _, last = name.rpartition(".")
        package = sys.modules.get(parent)
        if package is not None and name in sys.modules and not hasattr(package, last):
            setattr(package, last, sys.modules[name])


@cache
def _original(name: str) -> CodeType:
    return compile(tree(name), str(files()[name]), "exec")


@cache
def dependents(module: str) -> set[str]:
    """Return the module, all that import it, directly or not, and their packages."""
    found = {module, REGISTRY}
    while True:
        more = {name for name in files() if name not in found and _imports(name) & found}
        more |= {name.rpartition(".")[0] for name in found} - found - {""}
        if not more:
            return found
        found |= more


@cache
def _imports(name: str) -> set[str]:
    """Return the modules of `manual/` that a module imports as it is loaded, absolutely.

    Imports for type checkers, and those that a function makes when it is called, do not count.
    """
    found = set()
    for node in tree(name).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(files())
