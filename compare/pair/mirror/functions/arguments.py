"""What builders share: telling numbers from values, and the call of one layer."""

from __future__ import annotations

from typing import Any

from compare.pair.mirror.call import Call, NoTwin, Value
from manual.layer import Layer


def of(layer: Layer, *inputs: Value | None) -> Call:
    """Return the call of a layer; integers and booleans go in as real numbers."""
    return Call(layer, tuple(x if x is None else x.real() for x in inputs))


def a_number(x: Any, name: str) -> float:
    """Return an argument that must be a plain number.

    Raises:
        NoTwin: it is a tensor, or complex.
    """
    if isinstance(x, Value) or not isinstance(x, int | float):
        raise NoTwin(f"{name} is no real number")
    return x


def same_type(x: Value, dtype: Any) -> None:
    """Raise NoTwin unless a `dtype=` is that of the run."""
    if dtype is not None and str(dtype).rpartition(".")[2] != str(x.dtype):
        raise NoTwin(f"computed in {dtype}")
