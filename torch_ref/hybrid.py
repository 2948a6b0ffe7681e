"""A hand-written layer in a torch network: a module whose backward is the hand-written one.

NumPy computes on copies of the tensors, and torch is given copies of what NumPy returns: neither
side's memory is ever seen by the other, not even by a layer that returns its input itself.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils.rnn import PackedSequence

from torch_ref.draws import Recorder

__all__ = ["HandWritten", "array_of", "as_torch", "tensor_of", "told_apart"]


CONSTANTS = ("weight", "pos_weight")  # of a loss: given to its constructor, buffers of torch's


class HandWrittenLayer(Protocol):
    """What is asked of a layer; everything else of the contract is used where it is there."""

    def forward(self, *inputs: Any) -> tuple[Any, Any]: ...
    def backward(self, grad_output: Any, cache: Any) -> tuple[Sequence[Any], Mapping[str, Any]]: ...


def as_torch(layer: HandWrittenLayer) -> HandWritten:
    """Return a torch module that runs a hand-written layer, loss or graph under autograd.

    Its parameters are trainable copies of the layer's, and its buffers copies of the layer's, under
    the names that torch's `state_dict` has (of a graph dotted ones, tied ones under each name) and
    in the same dtype (`.float()` changes it, as of any module). Inputs may be given by name, left
    out where forward does not need them, or in tuples, as `lstm(x, (h, c))`; what it returns is
    nested as torch's is where the layer's `structure` says so. A random layer draws from torch's
    generator while training and acts as in evaluation after `.eval()`.

    Raises:
        TypeError: `layer` has no forward or backward (an instance is wanted, not its class).

    >>> import manual
    >>> module = as_torch(manual.Linear(3, 2))
    >>> module
    HandWritten(Linear(3, 2, bias=True))
    >>> list(module.state_dict())
    ['weight', 'bias']
    """
    return HandWritten(layer)


class HandWritten(nn.Module):
    """Runs a hand-written layer's `forward`, and its `backward` when autograd asks for it."""

    def __init__(self, layer: HandWrittenLayer) -> None:
        super().__init__()
        if isinstance(layer, type | nn.Module) or not _has(layer, "forward", "backward"):
            raise TypeError(
                "as_torch takes a hand-written layer with the methods forward and backward, "
                f"received {layer!r}. Pass an object such as manual.Linear(3, 2)."
            )
        self.layer: Any = layer
        params, buffers = getattr(layer, "params", {}), getattr(layer, "buffers", {})
        names = layer.state_names() if _has(layer, "state_names") else {}  # type: ignore[attr-defined]
        held: dict[str, Any] = {k: nn.Parameter(tensor_of(a)) for k, a in params.items()}
        held |= {k: tensor_of(a) for k, a in buffers.items()}
        self.constants = tuple(k for k in CONSTANTS if _is_constant(layer, k))
        held |= {k: tensor_of(getattr(layer, k)) for k in self.constants}
        for path, name in (names or {name: name for name in held}).items():
            home, key = self._home(path)
            if name in params:
                home.register_parameter(key, held[name])
            else:
                home.register_buffer(key, held[name])

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the layer's output for its inputs (a loss: input and target)."""
        if any(isinstance(x, PackedSequence) for x in inputs):
            raise TypeError(
                f"{self.layer!r} takes padded sequences and their lengths, received a "
                "PackedSequence. With x, lengths = torch.nn.utils.rnn.pad_packed_sequence(packed), "
                "call module(x, lengths=lengths)."
            )
        tensors, options = told_apart(self.layer, inputs, named)
        own = dict(self.named_parameters(remove_duplicate=False))
        params = {key: own[key] for key in getattr(self.layer, "params", {})}
        _check(self.layer, [x for x in tensors if x is not None], params)
        layer = self._bound()
        new: dict[str, Any] = {}
        stochastic = getattr(layer, "stochastic", False)
        options |= {"noise": self.draw(layer, tensors)} if stochastic else {}
        function = _named(f"{type(self.layer).__name__}ByHand")
        found = function.apply(layer, options, new, tuple(params), *tensors, *params.values())
        for key, array in new.items():
            with torch.no_grad():
                held = own[key].data if key in own else self.get_buffer(key)  # no new version
                held.copy_(tensor_of(array))
        structure = getattr(layer, "structure", None)
        return found if structure is None else _nested(structure, layer.outputs, found)

    def _bound(self) -> Any:
        """Return the layer in the module's mode, with its buffers as they are now."""
        layer = self.layer
        if _has(layer, "train") and getattr(layer, "training", None) != self.training:
            layer = layer.train(self.training)
        if getattr(layer, "buffers", None):
            layer = layer.with_buffers({k: array_of(self.get_buffer(k)) for k in layer.buffers})
        if self.constants:
            layer = copy.copy(layer)
            for key in self.constants:
                setattr(layer, key, array_of(self.get_buffer(key)).astype(np.float64))
        return layer

    def _home(self, path: str) -> tuple[nn.Module, str]:
        """Return the module that holds what a dotted name is of, made where it is not there."""
        *parents, key = path.split(".")
        home: nn.Module = self
        for part in parents:
            if part not in home._modules:
                home.add_module(part, nn.Module())
            home = home.get_submodule(part)
        return home, key

    def draw(self, layer: Any, inputs: list[Tensor | None]) -> Any:
        """Draw as torch would, where it drops with probability p or draws slopes from lower on."""
        x = inputs[0]
        if hasattr(layer, "numbers_shape") and x is not None:  # in evaluation too
            return array_of(torch.rand(layer.numbers_shape(x.shape), dtype=x.dtype))
        if not self.training:
            return None
        if (p := getattr(layer, "p", None)) is not None and x is not None:
            shape = layer.mask_shape(x.shape) if hasattr(layer, "mask_shape") else x.shape
            with torch.no_grad():
                return array_of(nn.functional.dropout(x.new_ones(shape), p) != 0)
        if (lower := getattr(layer, "lower", None)) is not None and x is not None:
            with torch.no_grad(), Recorder() as recorder:
                nn.functional.rrelu(x, lower, layer.upper, training=True)
            return array_of(recorder.draws[0])
        if hasattr(layer, "mask_shapes"):  # between layers
            shapes = layer.mask_shapes(*inputs)
            with torch.no_grad():
                masks = [nn.functional.dropout(x.new_ones(s), layer.dropout) for s in shapes]  # type: ignore[union-attr]
            return tuple(array_of(mask != 0) for mask in masks)
        if chances := getattr(layer, "chances", ()):
            return self._dropped(layer, inputs, chances)
        seed = int(torch.randint(2**63 - 1, ()))
        arrays = [None if x is None else array_of(x) for x in inputs]
        return layer.draw(*arrays, rng=np.random.default_rng(seed))

    def _dropped(self, layer: Any, inputs: list[Tensor | None], chances: Sequence[float]) -> Any:
        """Draw torch's masks, one for each probability in its order, shaped as its own."""
        arrays = [None if x is None else array_of(x) for x in inputs]
        own = layer.draw(*arrays, rng=np.random.default_rng(0))
        masks = []
        for mask, p in zip(own if isinstance(own, tuple) else (own,), chances, strict=True):
            ones = torch.ones(mask.shape, dtype=inputs[0].dtype)  # type: ignore[union-attr]
            masks.append(array_of(nn.functional.dropout(ones, p) != 0))
        return tuple(masks) if isinstance(own, tuple) else masks[0]

    def extra_repr(self) -> str:
        return repr(self.layer)

    def __repr__(self) -> str:  # not the modules that hold a graph's dotted names
        return f"{type(self).__name__}({self.extra_repr()})"


def _is_constant(layer: Any, name: str) -> bool:
    """Return whether a layer was given an array of this name that it does not learn."""
    known = {**getattr(layer, "params", {}), **getattr(layer, "buffers", {})}
    return name not in known and isinstance(getattr(layer, name, None), np.ndarray)


class _Run(Function):
    """One pass through a layer: the cache that its forward left waits for its backward."""

    @staticmethod
    def forward(
        ctx: Any, layer: Any, options: dict, new: dict, keys: tuple[str, ...], *tensors: Any
    ) -> Any:
        """Run forward; what it made of buffers and of rewritten parameters is put into `new`."""
        arrays = [None if t is None else array_of(t) for t in tensors]
        count = len(arrays) - len(keys)
        if keys:
            layer = layer.with_params(dict(zip(keys, arrays[count:], strict=True)))
        output, cache = layer.forward(*arrays[:count], **options)
        if getattr(layer, "buffers", None):
            new.update(layer.next_buffers(cache))
        if getattr(layer, "rewrites", ()):
            new.update(layer.rewritten(cache))
        ctx.layer, ctx.cache, ctx.keys = layer, cache, keys
        ctx.like = [None if a is None else (a.shape, a.dtype) for a in arrays]
        given = [t for t in tensors if t is not None]
        ctx.save_for_backward(*given)  # torch refuses a freed graph, and what changed since
        ctx.several = isinstance(output, tuple)
        device = _device(given)
        found = [tensor_of(y).to(device) for y in (output if ctx.several else (output,))]
        ctx.mark_non_differentiable(*[y for y in found if not y.is_floating_point()])
        return tuple(found) if ctx.several else found[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        upstream = tuple(array_of(grad) for grad in grad_outputs)
        layer, dy = ctx.layer, upstream if ctx.several else upstream[0]
        count = len(ctx.like) - len(ctx.keys)
        wanted = ctx.needs_input_grad[4:]
        if any(wanted[:count]) or not hasattr(layer, "grad_params"):
            grad_inputs, grad_params = layer.backward(dy, ctx.cache)
        else:
            grad_inputs, grad_params = (), layer.grad_params(dy, ctx.cache)
        grads = dict(enumerate(grad_inputs)) | dict(grad_params)
        names = [*range(count), *ctx.keys]
        found = [
            tensor_of(_fitting(layer, name, grads.get(name), like)).to(grad_outputs[0].device)
            if want
            else None
            for name, want, like in zip(names, wanted, ctx.like, strict=True)
        ]
        if torch.is_grad_enabled():  # create_graph: without this, constants to autograd
            causes = (*grad_outputs, *tensors)
            found = [None if g is None else _Once.apply(repr(layer), g, *causes) for g in found]
        return (None, None, None, None, *found)


class _Once(Function):
    """A gradient that refuses to be differentiated with respect to what it was computed from.

    Those tensors are its inputs: autograd leaves out a node that leads to none of those it is
    asked about, and the refusal with it.
    """

    @staticmethod
    def forward(ctx: Any, name: str, grad: Tensor, *causes: Tensor) -> Tensor:
        ctx.name = name
        return grad.clone()

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple:
        raise RuntimeError(
            f"{ctx.name}: a second derivative was asked for (create_graph=True), and only the "
            "first one is hand-written. Use torch's own module here."
        )


@cache
def _named(name: str) -> Any:
    """Return `_Run` under a name that shows in `grad_fn`: LinearByHandBackward."""
    return type(name, (_Run,), {})


def array_of(tensor: Tensor) -> np.ndarray:
    """Copy a tensor into a read-only array: who writes into it is told, not obeyed."""
    array = np.array(tensor.detach().cpu().numpy(), order="C")
    array.setflags(write=False)
    return array


def tensor_of(array: Any) -> Tensor:
    """Copy an array (or a NumPy number) into a tensor of its dtype."""
    return torch.from_numpy(np.array(array, order="C"))


def told_apart(
    layer: Any, inputs: tuple, named: Mapping[str, Any]
) -> tuple[list[Tensor | None], dict[str, Any]]:
    """Return the inputs in forward's order, and what forward takes by name alone: no tensors.

    The first of those may stand behind the inputs, as an output_size does in torch.
    """
    alone = _by_name_alone(layer)
    options = {name: x for name, x in named.items() if name in alone}
    if alone and inputs and not any(isinstance(x, Tensor) for x in _flat(inputs[-1:])):
        *inputs, options[alone[0]] = inputs  # type: ignore[assignment]
    return _in_order(layer, inputs, {k: x for k, x in named.items() if k not in alone}), options


def _flat(inputs: Sequence[Any]) -> list[Any]:
    return [x for part in inputs for x in (part if isinstance(part, tuple | list) else [part])]


def _whole(value: Any) -> Any:
    """Return lengths that are given as a list of integers as a tensor."""
    several = isinstance(value, tuple | list) and len(value) > 0
    return torch.tensor(value) if several and all(type(n) is int for n in value) else value


def _in_order(layer: Any, inputs: Sequence, named: Mapping[str, Any]) -> list[Tensor | None]:
    """Return the inputs in forward's order, tuples unpacked, None for those that are left out."""
    flat = _flat([_whole(part) for part in inputs])
    named = {name: _whole(x) for name, x in named.items()}
    if not named:
        return flat
    names = _inputs(layer)
    if "input" in named and "input" not in names:  # what torch calls the first one
        named = {names[0]: named["input"], **{k: x for k, x in named.items() if k != "input"}}
    for name in named:
        if name not in names or names.index(name) < len(flat):
            raise TypeError(
                f"{layer!r}: its forward takes {', '.join(names) or 'no named inputs'}; received "
                f"'{name}'{' twice' if name in names else ''}."
            )
    flat += [named.get(name) for name in names[len(flat) :]]
    while flat and flat[-1] is None:
        flat.pop()
    return flat


def _by_name_alone(layer: Any) -> list[str]:
    """Return the arguments of forward that are no tensors: those taken by name only."""
    if hasattr(layer, "nodes"):
        return []
    parameters = inspect.signature(layer.forward).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "noise"]


def _inputs(layer: Any) -> list[str]:
    if hasattr(layer, "nodes"):
        return list(layer.inputs)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(layer.forward).parameters.values()
    return [p.name for p in parameters if p.kind in kinds and p.name != "noise"]


def _nested(structure: Any, ports: Sequence[str], found: Sequence[Tensor]) -> Any:
    """Return the outputs as nested tuples of ports say: `("output", ("h_n", "c_n"))`."""
    if isinstance(structure, str):
        return found[list(ports).index(structure)]
    return tuple(_nested(part, ports, found) for part in structure)


def _fitting(layer: Any, name: int | str, grad: Any, like: tuple) -> Any:
    """Return the gradient if its shape and dtype are right: autograd would sum and convert it."""
    what = f"input {name}" if isinstance(name, int) else f"'{name}'"
    if grad is None:
        raise RuntimeError(
            f"{layer!r}: its backward returned no gradient of {what}, which requires one. Detach "
            "it (a target is data), or let backward return its gradient."
        )
    found = (np.shape(grad), np.asarray(grad).dtype)
    if found != like:
        raise ValueError(
            f"{layer!r}: the gradient of {what} must have shape {like[0]} and dtype {like[1]} as "
            f"{what} has, received shape {found[0]} and dtype {found[1]} from its backward."
        )
    return grad


def _check(layer: Any, inputs: Sequence, params: Mapping[str, Tensor]) -> None:
    """Raise unless all are tensors on one device, and the floats of one dtype that NumPy knows.

    Whole numbers may stay on the CPU, where torch itself wants lengths.
    """
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(f"{layer!r} under autograd takes tensors, received {type(x).__name__}.")
    tensors = [*inputs, *params.values()]
    placed = [t for t in tensors if t.is_floating_point() or t.device.type != "cpu"]
    devices = list(dict.fromkeys(str(t.device) for t in placed))
    if len(devices) > 1:
        raise RuntimeError(
            f"{layer!r}: inputs and parameters must be on one device, received "
            f"{' and '.join(devices)}. Move the module with .to({devices[0]!r})."
        )
    dtypes = list(dict.fromkeys(t.dtype for t in tensors if t.is_floating_point()))
    if len(dtypes) > 1:
        text = " and ".join(str(d).removeprefix("torch.") for d in dtypes)
        raise TypeError(
            f"{layer!r}: inputs and parameters must have one dtype, received {text}. A module from "
            "as_torch has its layer's dtype: convert it with .float() or .double()."
        )
    if torch.bfloat16 in dtypes:
        raise TypeError(f"{layer!r}: NumPy has no bfloat16. Convert with .float().")


def _device(tensors: Sequence[Tensor]) -> torch.device | None:
    """Return where the real numbers are: lengths and the like may stay on the CPU."""
    chosen = next((t for t in tensors if t.is_floating_point()), next(iter(tensors), None))
    return None if chosen is None else chosen.device


def _has(layer: Any, *methods: str) -> bool:
    return all(callable(getattr(layer, method, None)) for method in methods)
