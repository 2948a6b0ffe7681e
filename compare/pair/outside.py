"""Arrays that a function reads and that nobody gives it: globals and variables around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from compare.pair.inputs import is_float


def outside_note(function: Callable) -> list[str]:
    """Say which arrays a function reads from around it: no gradient of them is checked."""
    names = outside(function)
    if not names:
        return []
    them = "them" if len(names) > 1 else "it"
    return [
        f"{function.__name__} reads {', '.join(names)} from around it, and no gradient of {them} "
        f"was checked: make {them} {'arguments' if len(names) > 1 else 'an argument'} if it is to "
        "be."
    ]


def outside(function: Callable) -> list[str]:
    """Return the names of float arrays, or what holds some, in globals and enclosing functions.

    >>> weights = {"W": np.ones((2, 3))}
    >>> def forward(x):
    ...     return x @ weights["W"]
    >>> outside(forward)
    ['weights']
    """
    try:
        around = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # no function of Python's, or an empty cell
        return []
    found = {**around.globals, **around.nonlocals}
    return [name for name, value in found.items() if _holds_arrays(value)]


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        held = value.values() if isinstance(value, Mapping) else value
        return any(is_float(one) and np.ndim(one) > 0 for one in held)
    return is_float(value) and np.ndim(value) > 0
