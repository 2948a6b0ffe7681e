"""Torch's functions: their names, whether they work in place, what floating type they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_map

from torch_ref.stand_ins import StandIns, like

__all__ = ["OneDtype", "backward_in", "of_one_dtype", "operation", "without_autocast"]

CONVERSIONS = {
    "float": torch.float32, "double": torch.float64, "half": torch.float16,
    "bfloat16": torch.bfloat16, "cfloat": torch.complex64, "cdouble": torch.complex128,
    "chalf": torch.complex32,
}  # fmt: skip
OTHERWISE = {  # a function and a method of one name that take other arguments, or in another order
    nn.functional.unfold: "im2col", torch.Tensor.where: "where_method",
    torch.mm: "mm",  # which has a second name
}  # fmt: skip
REFLECTED = {"add", "mul", "and", "or", "xor"}  # a + b = b + a


def operation(function: Callable) -> tuple[str, bool]:
    """Return torch's name of a function, without its module, and whether it works in place.

    >>> operation(torch.Tensor.__iadd__)
    ('add', True)
    """
    if function in OTHERWISE:
        return OTHERWISE[function], False
    name = resolve_name(function) or getattr(function, "__name__", str(function))
    for prefix in ("torch.", "Tensor.", "nn.functional.", "_C._nn.", "_VF.", "functional."):
        name = name.removeprefix(prefix)
    if name.endswith(".__get__"):
        return name.removesuffix(".__get__"), False
    if name.startswith("__") and name.endswith("__"):
        return _dunder(name[2:-2])
    in_place = name.endswith("_") and not name.endswith("__")
    return (name[:-1], True) if in_place else (name, False)


def _dunder(name: str) -> tuple[str, bool]:
    if name == "setitem":
        return name, True
    if name == "float":  # a number, not Tensor.float
        return "item", False
    if name[:1] == "i" and name[1:] in (
        "add", "sub", "mul", "truediv", "floordiv", "pow", "mod", "and", "or", "xor",
    ):  # fmt: skip
        return _plain(name[1:]), True
    if name[:1] == "r" and name[1:] in REFLECTED:
        return name[1:], False
    return _plain(name), False


def _plain(name: str) -> str:
    names = {"truediv": "div", "rtruediv": "rdiv", "mod": "remainder", "floordiv": "floor_divide"}
    return names.get(name, name)


class OneDtype(TorchFunctionMode):
    """Leaves out conversions to another floating type than the run's, and what stands in."""

    def __init__(self, dtype: torch.dtype, known: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.dtype, self.stand_ins = dtype, StandIns(dtype, known)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = operation(func)[0]
        args, kwargs = self.stand_ins((args, kwargs or {}))
        (func, _, args, kwargs), _ = of_one_dtype(self.dtype, func, name, args, kwargs)
        return func(*args, **kwargs)


@contextmanager
def without_autocast() -> Iterator[set[torch.dtype]]:
    """Let autocast convert nothing; yield a set that fills with the types that were asked for."""
    asked: set[torch.dtype] = set()
    enter = torch.autocast.__enter__

    def entered(self: Any) -> Any:
        on, self._enabled = self._enabled, False
        asked.update({self.fast_dtype} if on else ())
        try:
            return enter(self)
        finally:
            self._enabled = on

    if torch.is_autocast_enabled("cpu"):
        asked.add(torch.get_autocast_dtype("cpu"))
    torch.autocast.__enter__ = entered  # type: ignore[method-assign]
    try:
        with torch.autocast("cpu", enabled=False):
            yield asked
    finally:
        torch.autocast.__enter__ = enter  # type: ignore[method-assign]


@contextmanager
def backward_in(dtype: torch.dtype) -> Iterator[None]:
    """Let the backward of custom Functions compute in one floating type, too.

    Autograd calls it without the modes that are on.
    """
    before = BackwardCFunction.apply

    def apply(self: Any, *grads: Any) -> Any:
        with OneDtype(dtype, {}):
            return before(self, *grads)

    BackwardCFunction.apply = apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        BackwardCFunction.apply = before  # type: ignore[method-assign]


def of_one_dtype(
    dtype: torch.dtype, func: Callable, name: str, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple[Callable, str, tuple, dict[str, Any]], torch.dtype | None]:
    """Return a call with the run's floating type in the place of any other, and which that was.

    So with complex numbers: they are of two numbers of the run's type.
    """
    said: list[torch.dtype] = []

    def kept(x: Any) -> Any:
        if isinstance(x, torch.dtype) and x != like(dtype, x):
            said.append(x)
            return like(dtype, x)
        return x

    if name in CONVERSIONS and len(args) == 1:
        func, name, args = Tensor.to, "to", (*args, CONVERSIONS[name])
    call = (func, name, tree_map(kept, args), tree_map(kept, kwargs))
    return call, said[0] if said else None
