"""Which hand-written layer stands for a captured call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from compare.errors import UserError
from compare.pair.mirror.by_torch import ByTorch
from compare.pair.mirror.call import Call, NoTwin, Value, built
from compare.pair.mirror.functions import FUNCTIONS, complex_numbers
from compare.pair.mirror.given import GivenPiece
from compare.pair.mirror.modules import twin_of_module
from compare.pair.mirror.ported import bound
from manual.graph import Graph
from manual.layer import Layer
from torch_ref.capture import Capture
from torch_ref.captured import CapturedCall, Ref, paired

__all__ = ["Deriver", "Twin", "left_to_torch"]

COMPLEX = ("view_as_complex", "polar", "complex")  # make complex numbers of real ones
CAST = "~real"  # of a value that a layer takes as real numbers


class Twin(NamedTuple):
    """What stands for a captured call: a layer, and the names of the values that it takes."""

    layer: Layer
    names: tuple[str | None, ...]
    casts: dict[str, np.ndarray]  # integers as real numbers, by name
    why: str = ""  # torch computes it: why nothing hand-written does

    @property
    def ports(self) -> tuple[str, ...] | None:
        """The names of the outputs; None where only the call itself can tell."""
        return None if isinstance(self.layer, GivenPiece) else self.layer.outputs

    @property
    def stochastic(self) -> bool:
        return self.layer.stochastic and self.layer.training

    @property
    def chance(self) -> float | None:
        """With which probability it drops, where that is all it draws."""
        return getattr(self.layer, "p", None)


class Deriver:
    """Finds the hand-written twin of each call that is about to run.

    Args:
        pieces: what somebody wrote by hand for modules, by path.
    """

    def __init__(self, pieces: Mapping[str, Any] | None = None) -> None:
        every = pieces or {}
        self.graphs = {path: own for path, own in every.items() if isinstance(own, Graph)}
        self.pieces = {path: own for path, own in every.items() if path not in self.graphs}
        self.whole = "" in self.pieces  # the model itself is one of them
        self.noted = set(self.graphs)
        self.has_layers = bool(self.graphs) or any(isinstance(p, Layer) for p in every.values())

    def __call__(self, capture: Capture, call: CapturedCall) -> Twin | None:
        """Return the twin; None if there is none."""
        if call.module is not None and call.path in self.pieces:
            return _given(capture, call, self.pieces[call.path])
        if call.module is not None and (call.path in self.graphs or self._inside(call.path)):
            call.why = "somebody's own piece stands for a part of it"
            return None
        return derive(capture, call)

    def _inside(self, path: str) -> bool:
        """Return whether a piece is for a module inside this one."""
        every = (*self.pieces, *self.graphs)
        return any(piece.startswith(f"{path}." if path else "") for piece in every)


def _given(capture: Capture, call: CapturedCall, piece: Any) -> Twin:
    """Return what somebody wrote for a module's call: a layer, or a forward and a backward.

    Raises:
        UserError: it does not fit the module.
    """
    module: Any = call.module
    params = {k: p.detach().numpy() for k, p in module.named_parameters()}
    if not isinstance(piece, Layer):
        twin = None if next(module.children(), None) is not None else derive(capture, call)
        if twin is not None and twin.stochastic and twin.chance != 0:
            raise UserError(
                f"twin['{call.path}']: {type(module).__name__} draws, and a forward and a backward "
                "are not told what. Give manual's layer of that name, or mirror module.eval()."
            )
        buffers = {k: np.array(b.numpy()) for k, b in module.named_buffers()}
        return Twin(GivenPiece(piece, params, call.path, buffers), tuple(_refs(call)), {})
    own = bound(piece, call.path, capture.module)
    if left := params.keys() - own.params.keys():
        raise UserError(f"twin['{call.path}']: {own!r} has no parameter {', '.join(sorted(left))}.")
    args, kwargs = _values(capture, (call.args, call.kwargs))
    try:
        return _twin(twin_of_module(module, args, kwargs, own))
    except NoTwin as error:
        raise UserError(f"twin['{call.path}'] is not called as the module is: {error}.") from None


def derive(capture: Capture, call: CapturedCall) -> Twin | None:
    """Return the hand-written twin of a call that is about to run; None if there is none."""
    try:
        return _twin(_asked(capture, call))
    except NoTwin as error:
        call.why = str(error)
        return None


def _twin(found: Call) -> Twin:
    casts = {f"{v.name}{CAST}": v.array for v in found.inputs if v is not None and v.cast}
    names = tuple(
        None if v is None else f"{v.name}{CAST}" if v.cast else v.name for v in found.inputs
    )
    return Twin(found.layer, names, casts)


def _asked(capture: Capture, call: CapturedCall) -> Call:
    args, kwargs = _values(capture, (call.args, call.kwargs))
    if call.module is not None:
        return twin_of_module(call.module, args, kwargs)
    builder = FUNCTIONS.get(call.operation)
    values = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Value)]
    if call.operation in COMPLEX or any(value.complex for value in values):

        def mapped(change: Callable[[Value], Value]) -> Call:
            assert builder is not None
            return built(builder, *_each(change, (args, kwargs)))

        return complex_numbers.twin(call.operation, builder, args, kwargs, mapped)
    if builder is None:
        raise NoTwin(f"nothing hand-written stands for torch's {call.operation}")
    if any(map(_asks_complex, tree_leaves((args, kwargs)))):
        raise NoTwin(f"torch's {call.operation} makes complex numbers of real ones")
    return built(builder, args, kwargs)


def _values(capture: Capture, tree: Any) -> Any:
    def value(x: Any) -> Any:
        if not isinstance(x, Ref):
            return x
        tensor, dtype = capture.tensor(x.name), np.dtype(str(capture.dtype)[6:])
        if _is_traced(tensor):
            raise UserError(
                "A mirror does not look into torch.func (vmap, grad, jacrev): "
                f"{x.name} has no numbers of its own there. Write what they do as ordinary calls: "
                "a batch's axis, a derivative's formula."
            )
        if tensor.layout is not torch.strided:
            raise UserError(
                f"{x.name} has a sparse layout ({str(tensor.layout)[6:]}), which the hand-written "
                f"side has not. Give the model the same numbers as {x.name}.to_dense()."
            )
        grad = x.name not in capture.data
        array, begins = paired(tensor.detach()).numpy(), int(tensor.storage_offset())
        return Value(x.name, array, grad, dtype, False, tensor.is_complex(), begins)

    return tree_map(value, tree)


def _asks_complex(x: Any) -> bool:
    return isinstance(x, complex) or (isinstance(x, torch.dtype) and x.is_complex)


def _is_traced(tensor: Any) -> bool:
    """Return whether a tensor stands for others: inside torch.func's transformations."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def _each(change: Callable[[Value], Value], tree: Any) -> Any:
    return tree_map(lambda x: change(x) if isinstance(x, Value) else x, tree)


def left_to_torch(call: CapturedCall, network: Any) -> Twin:
    """Return the twin of a call that torch computes on both sides."""
    refs = _refs(call)
    ports = ["output", *(name.rpartition(":")[2] for name in call.outputs[1:])]
    layer = ByTorch(call, refs, ports, network)
    if call.twin is not None:  # somebody's own piece: torch tells its tolerances
        return call.twin._replace(layer=call.twin.layer.bind(layer))
    return Twin(layer, tuple(refs), {}, call.why or "nothing hand-written stands for it")


def _refs(call: CapturedCall) -> list[str]:
    return [x.name for x in tree_leaves((call.args, call.kwargs)) if isinstance(x, Ref)]
