"""Put a user's functions into a script: their source, and all that it needs to run by itself."""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
import re
import sys
import textwrap
import types
import zlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

SCRIPT_S = {"Path", "expected", "grads", "layer", "manual", "np", "saved", "sys", "tensors",
            "torch", "wrong"}  # fmt: skip
RESERVED = {*SCRIPT_S, *dir(builtins), "backward", "cache", "candidate", "file", "forward",
            "function", "reference", "tolerance"}  # fmt: skip


class CannotBundleError(Exception):
    """Something cannot be written down as source."""


class Bundle:
    """Collects imports, constants, functions and classes in the order in which they are needed."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        self.taken = {*RESERVED, *taken}  # names that no input may have in the script
        self.imports: dict[str, None] = {}
        self.parts: dict[str, str] = {}
        self.arrays: dict[str, np.ndarray] = {}  # to be saved beside the script
        self._bound: dict[str, int] = {}  # what each name stands for

    def variable(self, name: str) -> str:
        """Return what an input is called in the script and in its file: its name, if that can be.

        Two inputs never share one.
        """
        free = name.isidentifier() and not keyword.iskeyword(name) and name not in self.taken
        if free and not re.fullmatch(r"(dy|y|t)\d*", name):
            return name
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        return f"input_{plain}_{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"

    def names(self) -> set[str]:
        """Return the names that the script's parts and imports bind."""
        return set(self.parts) | {line.split()[-1].partition(".")[0] for line in self.imports}

    def text(self) -> str:
        return "\n\n\n".join(part for part in self.parts.values() if part)

    def function(self, function: Any, name: str) -> str:
        """Add a function; return the expression by which the script calls it.

        Raises:
            CannotBundleError: its source, or something that it uses, cannot be had.
        """
        if isinstance(function, types.MethodType):
            raise CannotBundleError(f"{name} is a bound method")
        if (path := torch_path(function)) is not None:
            return path
        if not isinstance(function, types.FunctionType):
            raise CannotBundleError(f"{name} has no Python source")
        if _installed(function):
            return self._imported(function)
        if function.__name__ == "<lambda>":
            self._needs(function)
            self._add(name, f"{name} = {lambda_source(function)}", function)
            return name
        self._needs(function)
        self._add(function.__name__, _source(function), function)
        return function.__name__

    def class_(self, kind: type) -> str:
        """Add a class; return its name."""
        if _installed(kind):
            return self._imported(kind)
        for base in kind.__bases__:
            if base is not object:
                self.value(base.__name__, base)
        for member in vars(kind).values():
            inner = getattr(member, "__func__", member)
            if isinstance(inner, types.FunctionType):
                self._needs(inner)
        self._add(kind.__name__, _with_plain_bases(_source(kind), kind.__bases__), kind)
        return kind.__name__

    def value(self, name: str, value: Any) -> None:
        """Make a global name available."""
        if isinstance(value, types.ModuleType):
            self._module(name, value)
        elif isinstance(value, type):
            self.class_(value)
        elif isinstance(value, types.FunctionType):
            used = self.function(value, name)
            if used != name:
                self._add(name, f"{name} = {used}", value)
        else:
            self._add(name, f"{name} = {self.expression(name, value)}", value)

    def expression(self, name: str, value: Any) -> str:
        """Return Python for a value: a literal, or an array from the file."""
        if isinstance(value, np.ndarray) and value.dtype != object:
            self.arrays[name] = value
            return f"saved[{name!r}]"
        if isinstance(value, dict):
            items = (f"{k!r}: {self.expression(f'{name}.{k}', v)}" for k, v in value.items())
            return "{" + ", ".join(items) + "}"
        if isinstance(value, list):
            parts = (self.expression(f"{name}.{i}", v) for i, v in enumerate(value))
            return f"[{', '.join(parts)}]"
        try:
            if ast.literal_eval(repr(value)) == value:
                return repr(value)
        except (ValueError, SyntaxError, TypeError, MemoryError):
            pass
        raise CannotBundleError(f"{name} is a {type(value).__name__}")

    def _module(self, name: str, module: types.ModuleType) -> None:
        if not _installed(module):
            raise CannotBundleError(f"{name} is a module of yours")
        parent, _, last = module.__name__.rpartition(".")
        plain = (
            f"import {name}" if module.__name__ == name else f"import {module.__name__} as {name}"
        )
        self.imports[f"from {parent} import {last}" if parent and last == name else plain] = None

    def _imported(self, thing: Any) -> str:
        self.imports[f"from {thing.__module__} import {thing.__name__}"] = None
        return str(thing.__name__)

    def _needs(self, function: types.FunctionType) -> None:
        """Add the globals and the closed-over variables that a function uses."""
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        used = {name: cell.cell_contents for name, cell in cells if name != "__class__"}  # super()
        names = dict.fromkeys(_names(function.__code__))
        used |= {n: function.__globals__[n] for n in names if n in function.__globals__}
        for name, value in used.items():
            if value is not function and self._bound.get(name) != id(value):
                self.value(name, value)

    def _add(self, name: str, text: str, thing: Any) -> None:
        if name in SCRIPT_S or self._bound.setdefault(name, id(thing)) != id(thing):
            raise CannotBundleError(f"two things are called {name}")
        self.parts.setdefault(name, text)


def torch_path(function: Any) -> str | None:
    """Return where a torch function is found, such as `torch.nn.functional.linear`."""
    torch = sys.modules.get("torch")
    name = getattr(function, "__name__", "")
    if torch is None or not name:
        return None
    homes = {"torch": torch, "torch.nn.functional": torch.nn.functional,
             "torch.special": torch.special, "torch.linalg": torch.linalg}  # fmt: skip
    for path, home in homes.items():
        if getattr(home, name, None) is function:
            return f"{path}.{name}"
    return None


def lambda_source(function: types.FunctionType) -> str:
    """Return the text of a lambda alone, out of the statement in which it stands."""
    try:
        lines, _ = inspect.getsourcelines(function)
    except (OSError, TypeError) as error:
        raise CannotBundleError("the lambda has no source") from error
    for text in _parsable(textwrap.dedent("".join(lines)).strip()):
        found = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Lambda)]
        for node in found:
            source = ast.unparse(node)
            code = compile(source, "<lambda>", "eval").co_consts[0]
            if code.co_code == function.__code__.co_code and code.co_consts == (
                function.__code__.co_consts
            ):
                return source
    raise CannotBundleError("the lambda's source cannot be told apart")


def _parsable(text: str) -> Iterator[str]:
    """Yield pieces of a broken-off statement that parse: from the first lambda on, cut shorter."""
    start = text.find("lambda")
    for begin in (0, start):
        for end in range(len(text), max(begin, len(text) - 200), -1):
            piece = text[begin:end]
            for wrapped in (piece, f"({piece})"):
                try:
                    ast.parse(wrapped)
                except SyntaxError:
                    continue
                if "lambda" in wrapped:
                    yield wrapped
                    break


def _installed(thing: Any) -> bool:
    """Return whether this comes with Python or a package, or is the network under test."""
    module = thing if isinstance(thing, types.ModuleType) else sys.modules.get(thing.__module__)
    if module is None or module.__name__ == "__main__":
        return False
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None) or ""
    library = "site-packages" in file or file.startswith((sys.base_prefix, sys.prefix))
    return top == "manual" or library or not file


def _source(thing: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing)).strip()
    except (OSError, TypeError) as error:
        raise CannotBundleError(f"{thing.__name__} has no source") from error


def _with_plain_bases(source: str, bases: tuple[type, ...]) -> str:
    """Return a class's source whose bases have their own names: `Net` for `module.Net`."""
    nodes = ast.parse(source).body[0].bases  # type: ignore[attr-defined]
    lines = source.split("\n")
    for node, base in reversed(list(zip(nodes, bases, strict=False))):
        if isinstance(node, ast.Attribute) and node.lineno == node.end_lineno:
            line = lines[node.lineno - 1].encode()
            before, after = line[: node.col_offset], line[node.end_col_offset :]
            lines[node.lineno - 1] = (before + base.__name__.encode() + after).decode()
    return "\n".join(lines)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
