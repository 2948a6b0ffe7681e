"""Where the elements of a result come from: the same indexing of an array of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from compare.pair.mirror.call import Call, Value
from manual.gates.places import TakeGate


def listed(x: Any) -> bool:
    """Return whether an argument is a list: a Value is a tuple too."""
    return isinstance(x, list | tuple) and not isinstance(x, Value)


def one_list(given: Sequence[Any]) -> Sequence[Any]:
    """Return what may be given one by one or as one list."""
    return given[0] if len(given) == 1 and listed(given[0]) else given


def numbers(value: Value) -> np.ndarray:
    """Return an array of the value's shape that holds the number of each element."""
    return np.arange(prod(value.shape)).reshape(value.shape)


def taken(inputs: Value | Sequence[Value], places: Any, fill: float = 0.0) -> Call:
    """Return the call that takes these places of the inputs, laid end to end."""
    given = (inputs,) if isinstance(inputs, Value) else tuple(inputs)
    return Call(TakeGate(places, fill), given)
