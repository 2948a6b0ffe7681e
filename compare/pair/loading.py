"""Functions and values named on the command line: `FILE.py:NAME`, `x=4,3`, `y=[0, 2, 1]`."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from compare.errors import UserError, nearest
from compare.files import one_line, refuse_large
from compare.pair.candidates import called
from compare.pair.signatures import positional


def load_names(target: str) -> list[Any]:
    """Return the objects of `FILE.py:name` or `FILE.py:name,name`.

    Raises:
        UserError: the file is not there, fails when it is imported, or has no such name.
    """
    path, colon, names = target.rpartition(":")
    if not colon or not path or not names.strip():
        raise UserError(
            f"'{target}' must be FILE.py:NAME (or FILE.py:FORWARD,BACKWARD), with the names of "
            "functions in that file."
        )
    module = load_file(Path(path))
    return [_member(module, name.strip(), path) for name in names.split(",")]


def load_file(path: Path) -> Any:
    """Import a file; what is beside it can be imported from it."""
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    name = f"handgrad_checked_{path.resolve().with_suffix('').as_posix().replace('/', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{path} fails when it is imported: {_failure(error, path)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _failure(error: BaseException, path: Path) -> str:
    """Return the error with the user's line."""
    if isinstance(error, SyntaxError):
        line = (error.text or "").strip()
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}: {line}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).resolve() == path.resolve()]
    where = f"line {own[-1].lineno} ({own[-1].line}): " if own else ""
    if isinstance(error, SystemExit):
        return f"{where}it stops the program; guard that with if __name__ == '__main__'"
    return f"{where}{type(error).__name__}: {error}"


def _member(module: Any, name: str, path: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise UserError(f"{path} has no '{name}'. {nearest(part, public)}")
        found = getattr(found, part)
    return found


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
    import numpy as np

    name, equals, given = text.partition("=")
    if not equals or not name.strip():
        raise UserError(
            f"--value takes NAME=VALUE, a JSON value or a .npy file; received '{text}'."
        )
    if given.endswith(".npy"):
        return name.strip(), _saved(Path(given), f"--value {text}: {given}")
    try:
        value = json.loads(given)
    except (json.JSONDecodeError, RecursionError):
        value = given
    if isinstance(value, list):
        try:
            value = np.array(value)
        except ValueError as error:
            raise UserError(f"--value {text}: the rows are of different lengths.") from error
    return name.strip(), value


def _saved(path: Path, what: str) -> Any:
    """Return the array of a .npy file; its header may claim more than the file holds."""
    import numpy as np

    refuse_large(path, what)
    try:
        return np.array(np.load(path, mmap_mode="r"))  # a map is no longer than its file
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
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
            f"(--shape {(taken or ['x'])[0]}=4,3) or a value (--value y=[0,2,1], or "
            "--value x=FILE.npy)."
        )
    if not set(inputs) <= set(taken):
        return inputs
    if missing := [name for name in required if name not in inputs]:
        shapes = " ".join(f"--shape {name}=N,N" for name in missing)
        raise UserError(
            f"{called(function)} takes {', '.join(taken)}, but nothing was given for "
            f"{', '.join(missing)}: add {shapes}, or a value (--value {missing[0]}=…)."
        )
    return {name: inputs[name] for name in taken if name in inputs}
