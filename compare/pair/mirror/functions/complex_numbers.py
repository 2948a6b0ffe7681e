"""Functions of complex numbers, which the hand-written side has as pairs of real ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.shapes import identity
from manual.gates.complex_numbers import ComplexMultiplyGate, OnPairs

# linear, with real coefficients: they act on each part by itself
LINEAR = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "permute",
    "expand", "repeat", "roll", "flip", "contiguous", "clone", "getitem", "select", "narrow",
    "index_select", "gather", "split", "chunk", "unbind", "cat", "stack", "add", "sub", "neg",
    "sum", "mean", "movedim", "swapaxes", "t", "T", "mT", "setitem", "overwrite",
}  # fmt: skip
AFFINE = ("add", "sub")


def twin(operation: str, builder: Builder | None, args: Any, kwargs: Any, mapped: Any) -> Call:
    """Return what stands for a call that takes or returns complex numbers.

    Args:
        operation: torch's name.
        builder: of the function of real numbers with this name.
        args, kwargs: as captured.
        mapped: applies a function to every Value in them, and calls the builder.

    Raises:
        NoTwin: there is none.
    """
    if operation in ("view_as_complex", "view_as_real"):
        return identity(args[0])
    if operation == "mul" and all(isinstance(x, Value) and x.complex for x in args[:2]):
        return Call(ComplexMultiplyGate(), (args[0], args[1]))
    if operation not in LINEAR or builder is None or _has_constant(operation, args):
        raise NoTwin(f"nothing hand-written stands for torch's {operation} of complex numbers")
    parts: dict[str, Value] = {}

    def half(value: Value) -> Value:
        if not value.complex:
            return value
        parts[value.name] = value
        return replace(value, array=value.array[..., 0], complex=False)

    found = mapped(half)
    if any(v is None or v.name not in parts for v in found.inputs):
        raise NoTwin(f"torch's {operation} of complex and real numbers at once")
    return Call(OnPairs(found.layer), tuple(parts[v.name] for v in found.inputs))


def _has_constant(operation: str, args: Any) -> bool:
    """Return whether a number is added, or put in: to the real part alone."""
    operands = args[2:3] if operation == "setitem" else args[:2] if operation in AFFINE else ()
    return not all(isinstance(x, Value) for x in operands)
