"""Keep runs on strange numbers out of the user's state: what they leave behind is taken back.

A gradient kept in a module's dictionary or on a class would hold error-gauge numbers after a
gauged run, and the next ordinary one would trip over them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

LARGE = 10**6  # numbers in an array, or items in a container, that is left alone
DEEP = 6  # functions that call functions, containers in containers

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
        if isinstance(value, int | float | str | None) or _is_data(value):
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


def _names(thing: Any) -> Iterator[Binding]:
    """Yield what a class holds, or the globals and the closure that a function's code names."""
    if isinstance(thing, type):
        if thing.__module__.partition(".")[0] in ("builtins", "numpy", "torch"):
            return
        for name, value in list(vars(thing).items()):
            if not name.startswith("__"):
                yield Binding(value, lambda n=name, v=value: setattr(thing, n, v))  # type: ignore[misc]
    elif isinstance(thing, types.FunctionType):
        space = thing.__globals__
        for name in _used(thing.__code__) & space.keys():
            value = space[name]
            yield Binding(value, lambda n=name, v=value: space.__setitem__(n, v))  # type: ignore[misc]
        for cell in thing.__closure__ or ():
            with suppress(ValueError):  # empty
                value = cell.cell_contents
                yield Binding(value, lambda c=cell, v=value: setattr(c, "cell_contents", v))  # type: ignore[misc]


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
