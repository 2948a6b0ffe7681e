"""One captured call, as its hand-written twin is asked for: what goes in, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from manual.layer import Layer


class NoTwin(Exception):  # noqa: N818
    """Nothing hand-written stands for this call; the text says why."""


class Value(NamedTuple):
    """A tensor that goes into a call.

    Attributes:
        name: of the value in the graph.
        array: what torch held there, as it was recorded.
        grad: whether a gradient flows into it.
        dtype: the run's: what real numbers are in.
        cast: whether the hand-written layer gets integers or booleans as real numbers.
    """

    name: str
    array: np.ndarray
    grad: bool = False
    dtype: np.dtype = np.dtype(np.float64)
    cast: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    def real(self) -> Self:
        """Return the value as arithmetic takes it: integers and booleans as real numbers."""
        if self.array.dtype.kind in "fc":
            return self
        return self._replace(array=self.array.astype(self.dtype), cast=True)


class Call(NamedTuple):
    """A hand-written layer, and the values that its forward takes, in order; None: left out."""

    layer: Layer
    inputs: tuple[Value | None, ...]


Builder = Callable[..., Call]


def built(builder: Builder, args: Any, kwargs: Any) -> Call:
    """Ask a builder for the twin of a call.

    Raises:
        NoTwin: there is none for these arguments.
    """
    from inspect import signature

    try:
        bound = signature(builder).bind(*args, **kwargs)
    except TypeError as error:
        raise NoTwin(f"called as no twin is: {error}") from None
    return builder(*bound.args, **bound.kwargs)
