"""Functions and values named on the command line: `FILE.py:NAME`, `x=4,3`, `y=[0, 2, 1]`."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from compare.description.reading import one_line, refuse_large
from compare.errors import UserError, nearest
from compare.pair.candidates import called
from compare.pair.objects import made
from compare.pair.signatures import positional

NUMBERS = re.compile(r"\s*-?\d[\d.eE+-]*\s*(,\s*-?\d[\d.eE+-]*\s*)+")  # 0, 2, 1
LATER: list[str] = []  # folders in which imports inside functions are looked for
OWN = ("compare", "evidence", "handgrad", "manual", "teach", "torch_ref")
_loaded: dict[str, tuple[str, tuple[int, int]]] = {}  # users' modules: file, its state when read


class Named(NamedTuple):
    """A name of the command line: `Layer`, `module.Layer`, or a call, `Layer(3, bias=False)`."""

    name: str
    call: tuple[tuple, dict[str, Any]] | None = None


def named(text: str) -> list[Named]:
    """Return the names in `forward, backward` or `Layer(3, 5)`.

    Raises:
        UserError: it is no list of names.

    >>> named("Linear(3, bias=False), f")
    [Named(name='Linear', call=((3,), {'bias': False})), Named(name='f', call=None)]
    """
    try:
        items = ast.parse(f"({text.strip()},)", mode="eval").body
        return [_named(item) for item in items.elts]  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, AttributeError):
        raise UserError(
            f"'{text}' is no name of a function or class. Write FORWARD,BACKWARD or NAME; of a "
            "class with arguments NAME(3, bias=False), with plain numbers and texts."
        ) from None


def _named(item: ast.expr) -> Named:
    if not isinstance(item, ast.Call):
        if not all(isinstance(n, ast.Name | ast.Attribute | ast.Load) for n in ast.walk(item)):
            raise ValueError
        return Named(ast.unparse(item))
    arguments = tuple(ast.literal_eval(value) for value in item.args)
    keywords = {str(k.arg): ast.literal_eval(k.value) for k in item.keywords}
    return Named(_named(item.func).name, (arguments, keywords))


def load_names(target: str) -> list[Any]:
    """Return the objects of `FILE.py:name`, `FILE.py:name,name` or `package.module:name`.

    Raises:
        UserError: the file or module is not there, fails when it is imported, or has no such name.
    """
    found = re.fullmatch(r"(.+?\.py|[^\W\d][\w.]*):(.*\S.*)", target, re.DOTALL)
    if found is None:
        raise UserError(
            f"'{target}' must be FILE.py:NAME (or FILE.py:FORWARD,BACKWARD), with names that the "
            f"file has, or PACKAGE.MODULE:NAME.{_names_in(target)}"
        )
    where, names = found.groups()
    wanted = named(names)
    module = load_file(Path(where)) if where.endswith(".py") else load_module(where)
    return [member(module, one, where) for one in wanted]


def _names_in(target: str) -> str:
    """Name what a file defines, without running it; nothing if there is no such file."""
    try:
        body = ast.parse(Path(target.rstrip(":")).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return ""
    kinds = ast.FunctionDef | ast.ClassDef
    found = [item.name for item in body if isinstance(item, kinds)]
    found += [t.id for item in body if isinstance(item, ast.Assign) for t in item.targets
              if isinstance(t, ast.Name)]  # fmt: skip
    public = [name for name in found if not name.startswith("_")]
    return f" In {target.rstrip(':')}: {', '.join(public[:12])}." if public else ""


def load_module(name: str) -> Any:
    """Import a module by its dotted name; the working folder is looked in as well."""
    with _importing(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and f"{name}.".startswith(f"{error.name}."):
                raise UserError(
                    f"There is no module {error.name}, neither installed nor in {Path.cwd()}. Of "
                    "a file give the path, ending in .py."
                ) from error
            raise UserError(f"{name} fails when it is imported: {error}.") from error
        except (Exception, SystemExit) as error:
            raise UserError(f"{name} fails when it is imported: {_failure(error)}") from error


def load_file(path: Path) -> Any:
    """Import a file; what is beside it, and relative to it in its package, can be imported too."""
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    root, package = _package(path.resolve())
    name = f"{package}.{path.stem.replace('.', '_')}"
    with _importing(path.resolve().parent, root):
        try:
            importlib.import_module(package)
            return sys.modules[name] if name in sys.modules else _executed(name, path)
        except (Exception, SystemExit) as error:
            raise UserError(f"{path} fails when it is imported: {_failure(error, path)}") from error


def _executed(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package(path: Path) -> tuple[Path, str]:
    """Return the folder that holds the file's outermost package, and its package's name.

    That folder becomes a package of ours, so that no name of the user's meets one that is loaded.
    A folder belongs to a package if it has an `__init__.py`, or if the file's own relative imports
    say so.
    """
    root, inside = path.parent, _relative_level(path) - 1
    parts: list[str] = []
    while ((root / "__init__.py").is_file() or inside > 0) and root != root.parent:
        parts.insert(0, root.name)
        root, inside = root.parent, inside - 1
    top = f"handgrad_checked_{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
    if top not in sys.modules:
        ours = sys.modules[top] = types.ModuleType(top)
        ours.__path__ = [str(root)]
    return root, ".".join((top, *parts))


def _relative_level(path: Path) -> int:
    """Return how many dots the file's relative imports have at most."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return 0
    return max((n.level for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)), default=0)


@contextmanager
def _importing(*folders: Path) -> Iterator[None]:
    """Look in these folders first; afterwards last, the latest of them before the others.

    Imports inside functions come later.
    """
    _forget_what_changed()
    first = list(dict.fromkeys(map(str, folders)))
    sys.path[:0] = first
    before = set(sys.modules)
    try:
        yield
    finally:
        _remember(sys.modules.keys() - before, first)
        del sys.path[: len(first)]
        known = [folder for folder in sys.path if folder not in LATER]
        LATER[:] = dict.fromkeys([*first, *LATER])
        sys.path[:] = [*known, *(folder for folder in LATER if folder not in known)]


def loaded_files() -> list[str]:
    """Return the users' files that were imported: those that were named, and what they import."""
    return sorted({file for file, _ in _loaded.values()})


def _remember(names: set[str], folders: list[str]) -> None:
    """Keep which of these modules are files in the folders, and not installed packages."""
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        inside = any(Path(file).is_relative_to(folder) for folder in folders)
        installed = "site-packages" in Path(file).parts or name.partition(".")[0] in OWN
        if file and inside and not installed and (state := _state(file)):
            _loaded[name] = file, state


def _forget_what_changed() -> None:
    """Where a user's file has changed, forget all of them: they may have its old contents."""
    if all(_state(file) == state for file, state in _loaded.values()):
        return
    for name in _loaded:
        above, _, last = name.rpartition(".")
        module = sys.modules.pop(name, None)
        if above in sys.modules and getattr(sys.modules[above], last, None) is module:
            delattr(sys.modules[above], last)
    _loaded.clear()
    importlib.invalidate_caches()


def _state(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _failure(error: BaseException, path: Path | None = None) -> str:
    """Return the error with the user's line."""
    if isinstance(error, SyntaxError):
        if error.lineno is None:  # not even text
            return f"it is no Python source: {error.msg}"
        line = (error.text or "").strip()
        line = line if line.isprintable() else "…"
        where = f"{error.filename}, " if path and not _same(error.filename, path) else ""
        return f"{where}line {error.lineno}: {type(error).__name__}: {error.msg}: {line}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if path is None or _same(f.filename, path)]
    where = f"line {own[-1].lineno} ({own[-1].line}): " if own else ""
    if isinstance(error, SystemExit):
        return f"{where}it stops the program; guard that with if __name__ == '__main__'"
    return f"{where}{type(error).__name__}: {error}"


def _same(file: str | None, path: Path) -> bool:
    return file is not None and Path(file).resolve() == path.resolve()


def member(module: Any, wanted: Named, where: str) -> Any:
    """Return what a module has under a name; of a call, the object that the class makes.

    Raises:
        UserError: there is no such name, or the class does not take the arguments.
    """
    found = module
    for part in wanted.name.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise UserError(f"{where} has no '{wanted.name}'. {nearest(part, public)}")
        found = getattr(found, part)
    if wanted.call is None:
        return found
    arguments, keywords = wanted.call
    return made(found, *arguments, **keywords)


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """Return name and shape of `x=4,3`; `s=` is a scalar's."""
    name, equals, numbers = text.partition("=")
    try:
        if not equals or not name.strip():
            raise ValueError
        parts = [p for p in numbers.replace("x", ",").split(",") if p.strip()]
        return name.strip(), tuple(int(part) for part in parts)
    except ValueError:
        raise UserError(
            f"--shape takes NAME=N,N,… (for example x=4,3); received '{text}'."
        ) from None


def value_of(text: str) -> tuple[str, Any]:
    """Return name and value of `y=[0, 2, 1]`, `mode="train"` or `x=values.npy`."""
    name, equals, given = text.partition("=")
    if not equals or not name.strip():
        raise UserError(
            f"--value takes NAME=VALUE, a JSON value or a .npy file; received '{text}'."
        )
    return name.strip(), parsed(given)


def parsed(given: str) -> Any:
    """Return the value of a JSON text, of `0,2,1` or of a .npy file; other texts are themselves."""
    import numpy as np

    if given.endswith(".npy"):
        return _saved(Path(given), f"--value {given}")
    try:
        value = json.loads(f"[{given}]" if NUMBERS.fullmatch(given) else given)
    except (json.JSONDecodeError, RecursionError):
        value = given
    if isinstance(value, list):
        try:
            value = np.array(value)
        except ValueError as error:
            raise UserError(f"{given[:80]}: the rows are of different lengths.") from error
    return value


def _saved(path: Path, what: str) -> Any:
    """Return the array of a .npy file; its header may claim more than the file holds."""
    import numpy as np

    refuse_large(path, what)
    try:
        return np.array(np.load(path, mmap_mode="r"))  # a map is no longer than its file
    except Exception as error:  # whatever a broken file makes its reader raise
        raise UserError(f"{what} cannot be read: {one_line(error)}.") from error


def in_order(inputs: dict[str, Any], forward: Any) -> dict[str, Any]:
    """Return the inputs in the order of forward's parameters, if it names them all.

    Raises:
        UserError: there are none, or one is missing.
    """
    function = forward.forward if hasattr(forward, "forward") else forward
    try:
        taken = [n for n in inspect.signature(function).parameters if n not in ("self", "ctx")]
    except (TypeError, ValueError):
        taken = []
    required = [name for name in positional(function) or [] if name in taken]
    if not inputs:
        who = f"{called(function)}({', '.join(taken)})" if taken else "forward"
        raise UserError(
            f"A check needs inputs: one for each argument of {who}, a shape to draw from "
            f"(--shape {(taken or ['x'])[0]}=4,3) or a value (--value y=0,2,1, or "
            "--value x=FILE.npy)."
        )
    if not set(inputs) <= set(taken):
        return inputs
    if missing := [name for name in required if name not in inputs]:
        shapes = " ".join(f"--shape {name}=N,N" for name in missing)
        raise UserError(
            f"{called(function)} takes {', '.join(taken)}, but nothing was given for "
            f"{', '.join(missing)}: add {shapes}, or a value, as labels are "
            f"(--value {missing[0]}=0,2,1)."
        )
    return {name: inputs[name] for name in taken if name in inputs}
