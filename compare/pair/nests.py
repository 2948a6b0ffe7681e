"""Nests of containers, objects and arrays: copied, and compared bit for bit."""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

CODE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType, type)


def attributes(thing: Any) -> dict[str, Any]:
    """Return what an object holds by name: in its dictionary, in slots, as its class's numbers.

    >>> class Scale:
    ...     __slots__ = ("gain",)
    ...     bias = 0.5
    >>> scale = Scale()
    >>> scale.gain = 2.0
    >>> attributes(scale)
    {'gain': 2.0, 'bias': 0.5}
    """
    found = {}
    for kind in reversed(type(thing).__mro__):
        own = {name: held for name, held in vars(kind).items() if not name.startswith("__")}
        for name, held in own.items():
            if isinstance(held, types.MemberDescriptorType):
                with suppress(AttributeError):  # nothing is in the slot
                    found[name] = getattr(thing, name)
            elif isinstance(held, np.ndarray | float):
                found[name] = held
    return found | getattr(thing, "__dict__", {})


def snapshot(value: Any) -> Any:
    """Return a deep copy, or None of what cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return None


def same(a: Any, b: Any) -> bool:
    """Return whether two nests are equal; what cannot be compared is taken to be."""
    return _same(a, b, set())


def _same(a: Any, b: Any, seen: set[tuple[int, int]]) -> bool:
    if (id(a), id(b)) in seen:
        return True
    seen.add((id(a), id(b)))
    if isinstance(a, np.ndarray | np.generic) and isinstance(b, np.ndarray | np.generic):
        return np.shape(a) == np.shape(b) and a.dtype == b.dtype and _equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k], seen) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(_same(x, y, seen) for x, y in zip(a, b, strict=True))
    held = attributes(a)
    if (held or hasattr(a, "__dict__")) and not isinstance(a, CODE):
        return _same(held, attributes(b), seen)
    try:
        return a is b or bool(a == b)
    except Exception:
        return True


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
