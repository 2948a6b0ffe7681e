"""Every layer as its examples say, and what else the classes' examples stand for, as checks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from evidence.mutation.battery.base import Check
from evidence.mutation.battery.data import Shape
from evidence.mutation.battery.examples import beyond_rows, example_checks
from evidence.mutation.battery.layers import Arguments, ExactLayerCheck, LayerCheck
from manual import registry
from manual.examples import Draw, Example
from manual.layer import Layer

KINDS = ("random", "large", "small")
OF_PORTS = (
    "GRU", "GRUCell", "Interpolation", "LSTM", "LSTMCell", "MultiheadAttention", "RNN", "RNNCell",
    "ScaledDotProductAttention", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerEncoderLayer", "Unbind",
)  # fmt: skip
COLUMN: Shape = (193, 1)  # of the grid, which has a shape of its own
Shapes = tuple[tuple[Shape, ...], ...]


@cache
def layer_checks() -> list[Check]:
    """Return every layer with the arguments, shapes and kinds of numbers that its examples allow.

    Torch's defaults are tried by giving none. Random layers are tried with torch's own draws.
    """
    return [check for name in registry.LAYERS for check in _checks(name)]


def _checks(name: str) -> Iterator[Check]:
    cls = registry.LAYERS[name]
    if cls.stochastic or name in OF_PORTS:
        return
    if beyond_rows(cls):
        yield from example_checks(name)
        return
    for arguments, examples in grouped(cls).items():
        shapes = tuple(shapes_of(example) for example in examples)
        wider = _other_batch(cls, dict(arguments), shapes[0])
        both: Shapes = tuple(dict.fromkeys((*shapes, wider)))
        exact = any(example.exact for example in examples)
        for kind in (*KINDS, *(("ties",) if not exact else ())):
            yield LayerCheck(name, arguments, both, (kind,))
        if takes_any_shape(cls, dict(arguments), len(shapes[0])):
            grid = ((COLUMN,) * len(shapes[0]),)
            yield LayerCheck(name, arguments, grid, ("grid",))
            if exact:
                yield ExactLayerCheck(name, arguments, grid, ("grid",))
        if exact:
            yield ExactLayerCheck(name, arguments, both)


def grouped(cls: type[Layer]) -> dict[Arguments, list[Example]]:
    """Return the examples of a class by the arguments that they share."""
    found: dict[Arguments, list[Example]] = {}
    for example in cls.examples:
        found.setdefault(frozen(example.arguments), []).append(example)
    return found


def frozen(arguments: Any) -> Arguments:
    """Return arguments as a key; lists become tuples."""
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in arguments.items())


def shapes_of(example: Example) -> tuple[Shape, ...]:
    return tuple(
        spec.shape if isinstance(spec, Draw | np.ndarray) else tuple(spec)
        for spec in example.inputs
    )


def _other_batch(cls: type[Layer], arguments: dict, shapes: Any) -> tuple[Shape, ...]:
    """Return the shapes with a longer first axis, if the layer takes them; else as they are."""
    other = tuple((shape[0] + 2, *shape[1:]) if len(shape) > 1 else shape for shape in shapes)
    return other if runs(cls, arguments, other) else shapes


def takes_any_shape(cls: type[Layer], arguments: dict, count: int) -> bool:
    return runs(cls, arguments, (COLUMN,) * count)


def runs(cls: type[Layer], arguments: dict, shapes: tuple[Shape, ...]) -> bool:
    """Return whether both sides take inputs of these shapes."""
    from evidence.mutation.battery.torch_side import module, tensor

    double, ones = np.dtype(np.float64), [np.ones(shape) for shape in shapes]
    try:
        cls(**arguments).forward(*ones)
        module(cls.__name__, arguments, double)(*(tensor(x, double) for x in ones))
    except (ValueError, IndexError, RuntimeError):
        return False
    return True
