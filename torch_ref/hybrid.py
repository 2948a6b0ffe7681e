"""A hand-written layer in a torch network: a module whose backward is the hand-written one.

NumPy computes on copies of the tensors, and torch is given copies of what NumPy returns: neither
side's memory is ever seen by the other, not even by a layer that returns its input itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

__all__ = ["HandWritten", "as_torch"]


class HandWrittenLayer(Protocol):
    """What is asked of a layer; nothing else of it is used but `params`, `stochastic`, `draw`."""

    def forward(self, *inputs: Any) -> tuple[Any, Any]: ...
    def backward(self, grad_output: Any, cache: Any) -> tuple[Sequence[Any], Mapping[str, Any]]: ...


def as_torch(layer: HandWrittenLayer) -> HandWritten:
    """Return a torch module that runs a hand-written layer or loss under autograd.

    Its parameters are trainable copies of the layer's, under the same names and in the same dtype
    (`.float()` changes it, as of any module). A random layer draws from torch's generator while
    training and acts as in evaluation after `.eval()`.

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
        self.layer = layer
        for key, array in getattr(layer, "params", {}).items():
            self.register_parameter(key, nn.Parameter(tensor_of(array)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the layer's output for its inputs (a loss: input and target)."""
        params = dict(self.named_parameters())
        _check(self.layer, inputs, params)
        stochastic = getattr(self.layer, "stochastic", False)
        extra = {"noise": self._noise(inputs)} if stochastic else {}
        function = _named(f"{type(self.layer).__name__}ByHand")
        return function.apply(self.layer, extra, tuple(params), *inputs, *params.values())

    def _noise(self, inputs: tuple[Tensor, ...]) -> Any:
        """Draw as torch would; where a layer drops with probability p, the mask of nn.Dropout."""
        if not self.training:
            return None
        if (p := getattr(self.layer, "p", None)) is not None:
            with torch.no_grad():
                return array_of(nn.functional.dropout(torch.ones_like(inputs[0]), p) != 0)
        seed = int(torch.randint(2**63 - 1, ()))
        arrays = [array_of(x) for x in inputs]
        return self.layer.draw(*arrays, rng=np.random.default_rng(seed))  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        return repr(self.layer)


class _Run(Function):
    """One pass through a layer: the cache that its forward left waits for its backward."""

    @staticmethod
    def forward(ctx: Any, layer: Any, extra: dict, keys: tuple[str, ...], *tensors: Tensor) -> Any:
        arrays = [array_of(t) for t in tensors]
        count = len(arrays) - len(keys)
        if keys:
            layer = layer.with_params(dict(zip(keys, arrays[count:], strict=True)))
        output, cache = layer.forward(*arrays[:count], **extra)
        ctx.layer, ctx.cache, ctx.keys = layer, cache, keys
        ctx.like = [(a.shape, a.dtype) for a in arrays]
        ctx.save_for_backward(*tensors)  # torch refuses a freed graph, and what changed since
        return tensor_of(output).to(tensors[0].device if tensors else None)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        layer, dy = ctx.layer, array_of(grad_output)
        count = len(ctx.like) - len(ctx.keys)
        wanted = ctx.needs_input_grad[3:]
        if any(wanted[:count]) or not hasattr(layer, "grad_params"):
            grad_inputs, grad_params = layer.backward(dy, ctx.cache)
        else:
            grad_inputs, grad_params = (), layer.grad_params(dy, ctx.cache)
        grads = dict(enumerate(grad_inputs)) | dict(grad_params)
        names = [*range(count), *ctx.keys]
        found = [
            tensor_of(_fitting(layer, name, grads.get(name), like)).to(grad_output.device)
            if want
            else None
            for name, want, like in zip(names, wanted, ctx.like, strict=True)
        ]
        if torch.is_grad_enabled():  # create_graph: without this, constants to autograd
            causes = (grad_output, *tensors)
            found = [None if g is None else _Once.apply(repr(layer), g, *causes) for g in found]
        return (None, None, None, *found)


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


def _check(layer: Any, inputs: tuple, params: Mapping[str, Tensor]) -> None:
    """Raise unless all are tensors on one device, and the floats of one dtype that NumPy knows."""
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(f"{layer!r} under autograd takes tensors, received {type(x).__name__}.")
    tensors = [*inputs, *params.values()]
    devices = list(dict.fromkeys(str(t.device) for t in tensors))
    if len(devices) > 1:
        raise RuntimeError(
            f"{layer!r}: inputs and parameters must be on one device, received "
            f"{' and '.join(devices)}. Move the module with .to({str(inputs[0].device)!r})."
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


def _has(layer: Any, *methods: str) -> bool:
    return all(callable(getattr(layer, method, None)) for method in methods)
