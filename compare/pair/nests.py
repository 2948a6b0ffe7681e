"""Nests of containers, objects and arrays: copied, and compared bit for bit."""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

CODE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType, type)


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
    if hasattr(a, "__dict__") and not isinstance(a, CODE):
        return _same(vars(a), vars(b), seen)
    try:
        return a is b or bool(a == b)
    except Exception:
        return True


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
