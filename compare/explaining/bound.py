"""What the names in a formula are bound to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

At = tuple[int, ...]


def _same(at: At) -> At:
    return at


@dataclass
class Bound:
    """One formula's variant and its names.

    Attributes:
        variant: which of the role's formulas holds for these arguments.
        arrays, scalars: by name, as the formula reads them.
        means: what the names stand for, in words.
        at: from a tensor's index to the formula's.
        fold: for `fold(i)`.
        note: what else a reader must know.
    """

    variant: str = ""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    scalars: dict[str, Any] = field(default_factory=dict)
    means: dict[str, str] = field(default_factory=dict)
    at: Callable[[At], At] = _same
    fold: Callable[[Any], Any] | None = None
    note: str = ""


def last(array: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.asarray(array), axis, -1)


def index_last(axis: int, ndim: int) -> Callable[[At], At]:
    """Return how an index changes when an axis moves to the end."""
    axis %= ndim
    return lambda at: (*at[:axis], *at[axis + 1 :], at[axis])
