"""What a submission may not do, seen on its syntax tree before any of it runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

MOST = 200_000  # bytes of a submission
ALLOWED = ("numpy", "math", "typing", "dataclasses", "functools", "itertools", "collections",
           "abc", "enum", "__future__")  # fmt: skip
NAMES = {
    "eval", "exec", "compile", "open", "globals", "locals", "vars", "getattr", "setattr",
    "delattr", "breakpoint", "input", "__import__", "__builtins__", "__loader__", "__spec__",
    "memoryview", "exit", "quit", "help",
}  # fmt: skip
DUNDERS = {"__init__", "__name__", "__doc__", "__call__", "__len__", "__getitem__", "__version__"}
NUMPY = {  # what of NumPy reads, writes, compiles or loads
    "load", "save", "savez", "savez_compressed", "loadtxt", "savetxt", "genfromtxt", "fromfile",
    "tofile", "dump", "dumps", "memmap", "DataSource", "lib", "f2py", "ctypeslib", "distutils",
    "testing", "ctypes", "fromregex", "open_memmap", "setbufsize",
}  # fmt: skip

EVALUATE = {"get_type_hints", "ForwardRef", "evaluate_forward_ref"}  # they run text

FRAMES = {"_getframe", "modules", "f_back", "f_globals", "f_locals", "f_builtins", "gi_frame",
          "tb_frame", "cr_frame", "ag_frame"}  # fmt: skip

MODULES = {"sys", "_sys", "os", "_os", "importlib", "inspect", "builtins", "bltns", "subprocess",
           "ctypes", "gc", "threading", "types", "contextlib", "warnings"}  # fmt: skip


def broken_rules(source: str, allowed: Collection[str]) -> list[str]:
    """Return what is not allowed in a submission, in the order of its lines.

    Args:
        source: its text.
        allowed: the modules that may be imported; their submodules only if listed themselves, or
            if they are NumPy's `linalg`, `random`, `fft` or `typing`.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    imported = set(_imported_names(tree))
    found = [(node.lineno, what) for node in ast.walk(tree) if hasattr(node, "lineno")
             for what in _refused(node, allowed, imported)]  # fmt: skip
    return [what + f" (line {line})" for line, what in sorted(set(found))]


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]


def _refused(node: ast.AST, allowed: Collection[str], imported: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {a.name}" for a in node.names if not _may(a.name, allowed))
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        names = [a.name for a in node.names]
        of_numpy = module.partition(".")[0] == "numpy" and bool(NUMPY & set(names))
        private = module != "__future__" and any(n.startswith("_") for n in names)
        hidden = of_numpy or private or bool(EVALUATE & set(names))
        if "*" in names and module.partition(".")[0] == "numpy":
            yield f"from {module} import * (name what you import, or import numpy as np)"
        elif hidden or not _may(module, allowed):
            yield f"from {module} import {', '.join(names)}"
    elif isinstance(node, ast.Name) and (node.id in NAMES or _special(node.id)):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node, imported)
    elif isinstance(node, ast.Constant) and isinstance(node.value, complex):
        yield "complex numbers (derive the gradient; do not measure it)"
    if isinstance(node, ast.Name) and node.id == "complex":
        yield "complex numbers (derive the gradient; do not measure it)"


def _attribute(node: ast.Attribute, imported: set[str]) -> Iterator[str]:
    name = node.attr
    root: ast.AST = node
    while isinstance(root, ast.Attribute):
        root = root.value
    of_module = isinstance(root, ast.Name) and root.id in imported
    private = of_module and name.startswith("_") and not name.startswith("__")
    if _special(name) or private or name in NUMPY | FRAMES | MODULES | EVALUATE:
        yield f".{name}"
    elif re.fullmatch(r"complex\d*|c(long)?double|csingle|clongdouble|complexfloating", name):
        yield "complex numbers (derive the gradient; do not measure it)"
    if isinstance(node.ctx, ast.Store | ast.Del) and of_module:
        yield f"a change of {ast.unparse(node)}, which belongs to a module"


def _special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in DUNDERS


def _may(module: str, allowed: Collection[str]) -> bool:
    top, _, rest = module.partition(".")
    if module in allowed:
        return True
    if top not in allowed or not rest:
        return False
    return top != "numpy" or rest in {"linalg", "random", "fft", "typing"}
