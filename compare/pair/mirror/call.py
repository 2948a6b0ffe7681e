"""One captured call, as its hand-written twin is asked for: what goes in, and what comes back."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from manual.layer import Layer

F64 = np.dtype(np.float64)


class NoTwin(Exception):  # noqa: N818
    """Nothing hand-written stands for this call; the text says why."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that goes into a call.

    Attributes:
        name: of the value in the graph.
        array: what torch held there, as it was recorded.
        grad: whether a gradient flows into it.
        dtype: the run's: what real numbers are in.
        cast: whether the hand-written layer gets integers or booleans as real numbers.
        complex: whether torch holds complex numbers, which are pairs along a last axis here.
        offset: where in its memory torch's tensor begins, in elements.
    """

    name: str
    array: np.ndarray
    grad: bool = False
    dtype: np.dtype = F64
    cast: bool = False
    complex: bool = False
    offset: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    def __index__(self) -> int:
        """Return a whole number that was given as a tensor."""
        return operator.index(self.array[()])

    def real(self) -> Value:
        """Return the value as arithmetic takes it: integers and booleans as real numbers."""
        if self.array.dtype.kind in "fc":
            return self
        return replace(self, array=self.array.astype(self.dtype), cast=True)


class Call(NamedTuple):
    """A hand-written layer, and the values that its forward takes, in order; None: left out."""

    layer: Layer
    inputs: tuple[Value | None, ...]


Builder = Callable[..., Call]
NUMPYS = {"axis": "dim", "keepdims": "keepdim"}  # NumPy's names, which torch takes as well


def built(builder: Builder, args: Any, kwargs: Any) -> Call:
    """Ask a builder for the twin of a call.

    Raises:
        NoTwin: there is none for these arguments.
    """
    known = signature(builder)
    kwargs = {k if k in known.parameters else NUMPYS.get(k, k): v for k, v in kwargs.items()}
    try:
        bound = known.bind(*args, **kwargs)
    except TypeError as error:
        raise NoTwin(f"called as no twin is: {error}") from None
    try:
        return builder(*bound.args, **bound.kwargs)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NoTwin(f"no twin takes these arguments: {error}") from error
