"""Keep runs on strange numbers out of the user's state: what they leave behind is taken back.

A gradient kept in a module's dictionary or on a class would hold error-gauge numbers after a
gauged run, and the next ordinary one would trip over them.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LARGE = 10**6  # numbers in an array, or items in a container, that is left alone
DEEP = 6  # functions that call functions, containers in containers
ABSENT = object()  # stands for the value of a name that is not there yet

Restore = Callable[[], Any]


class Binding(NamedTuple):
    """A value that code can reach by a name, and what gives the name this value again."""

    value: Any
    bind: Restore


@contextmanager
def preserved(*functions: Any) -> Iterator[None]:
    """Restore what the functions can reach by a name of theirs."""
    restorers: list[Restore] = []
    seen: set[int] = set()
    for value, bind in _bindings(functions):
        if value is ABSENT or isinstance(value, int | float | str | None) or _is_data(value):
            restorers += [bind, *_inside(value, seen, 0)]
    try:
        yield
    finally:
        for restore in restorers:
            with suppress(Exception):  # a stranger's class may forbid it
                restore()


def _bindings(functions: Any) -> Iterator[Binding]:
    waiting, seen = [(f, 0) for f in functions], set()
    while waiting:
        thing, depth = waiting.pop()
        thing = getattr(thing, "__func__", thing)
        if id(thing) in seen or depth > DEEP:
            continue
        seen.add(id(thing))
        found = list(_names(thing))
        yield from found
        waiting += [(b.value, depth + 1) for b in found if isinstance(b.value, CODE)]


CODE = (types.FunctionType, types.MethodType, classmethod, staticmethod, type)
INSTALLED = tuple(str(Path(folder).resolve()) for folder in (sys.base_prefix, sys.prefix))


def _names(thing: Any) -> Iterator[Binding]:
    """Yield what a class holds, or what a function's code names: globals, closure, defaults."""
    if isinstance(thing, type):
        if thing.__module__.partition(".")[0] not in ("builtins", "numpy", "torch"):
            yield from _attributes(thing)
    elif isinstance(thing, types.FunctionType):
        yield from _globals(thing)
        yield from (Binding(v, lambda: None) for v in _defaults(thing))
        yield from _attributes(thing)
        for cell in thing.__closure__ or ():
            with suppress(ValueError):  # empty
                value = cell.cell_contents
                yield Binding(value, lambda c=cell, v=value: setattr(c, "cell_contents", v))  # type: ignore[misc]


def _globals(function: types.FunctionType) -> Iterator[Binding]:
    """Yield the globals that code names, those of its own modules too; also those not yet there."""
    space, used = function.__globals__, _used(function.__code__)
    for name in used - vars(builtins).keys():
        value = space.get(name, ABSENT)
        if value is ABSENT:
            yield Binding(value, lambda n=name: space.pop(n, None))  # type: ignore[misc]
        else:
            yield Binding(value, lambda n=name, v=value: space.__setitem__(n, v))  # type: ignore[misc]
        if isinstance(value, types.ModuleType) and is_own(value):
            yield from _attributes(value, used)


def _attributes(thing: Any, names: Collection[str] | None = None) -> Iterator[Binding]:
    """Yield what a class, a module or a function holds under its own names; new ones go again."""
    held = {n: v for n, v in vars(thing).items() if not n.startswith("__")}
    for name, value in held.items():
        if names is None or name in names:
            yield Binding(value, lambda n=name, v=value: setattr(thing, n, v))  # type: ignore[misc]

    def forget() -> None:
        for name in [n for n in vars(thing) if n not in held and not n.startswith("__")]:
            delattr(thing, name)

    yield Binding(ABSENT, forget)


def _defaults(function: types.FunctionType) -> list[Any]:
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def is_own(module: types.ModuleType) -> bool:
    """Return whether a module is the user's: a file that is not installed."""
    file = getattr(module, "__file__", None) or ""
    return bool(file) and "site-packages" not in file and not file.startswith(INSTALLED)


def _used(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_used, inner))


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray | dict | list | set):
        return True
    strange = isinstance(value, (types.ModuleType, types.BuiltinFunctionType, property, *CODE))
    return hasattr(value, "__dict__") and not strange


def _inside(value: Any, seen: set[int], depth: int) -> Iterator[Restore]:
    """Yield what restores the contents of an array, a container or an object."""
    if id(value) in seen or depth > DEEP or not _is_data(value):
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        if value.flags.writeable and value.size <= LARGE:
            kept = value.copy()
            yield lambda: value.__setitem__(..., kept)
        return
    holder = value if isinstance(value, dict | list | set) else vars(value)
    if len(holder) > LARGE:
        return
    items = type(holder)(holder) if type(holder) in (dict, list, set) else None
    if items is None:
        return
    parts = list(items.values() if isinstance(items, dict) else items)
    if isinstance(holder, list):
        yield lambda: holder.__setitem__(slice(None), items)
    else:
        yield lambda: (holder.clear(), holder.update(items))  # type: ignore[attr-defined]
    for part in parts:
        yield from _inside(part, seen, depth + 1)
