"""What stands for a torch module: the hand-written class of its name, with its arguments."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import numpy as np
from torch import Tensor, nn

from compare.pair.mirror.call import Call, NoTwin, Value
from manual import registry
from manual.layer import Layer
from manual.nodes import inputs_of
from manual.recurrent.packed import PackedRecurrent
from torch_ref.captured import PackedRefs
from torch_ref.hybrid import array_of

__all__ = ["twin_of_module"]

KINDS = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
ATTRIBUTES = {("PairwiseDistance", "p"): "norm"}  # of arguments that torch keeps by another name


def twin_of_module(
    module: nn.Module, args: tuple, kwargs: dict[str, Any], layer: Layer | None = None
) -> Call:
    """Return the hand-written layer that stands for a module's call, with its parameters.

    Args:
        module: torch's.
        args, kwargs: what it is called with.
        layer: somebody's, which stands for it instead of the one of its class.

    Raises:
        NoTwin: there is none, or it cannot be called like this.
    """
    layer = layer_of(module) if layer is None else layer
    if args and isinstance(args[0], PackedRefs):
        return _packed(layer, *args, **kwargs)
    names = inputs_of(type(layer))
    flat = [x for part in args for x in (part if isinstance(part, tuple | list) else [part])]
    if names is None:
        return Call(layer, tuple(flat))
    given: dict[str, Any] = dict(zip(names, flat, strict=False))
    if len(flat) > len(names):
        raise NoTwin(f"{type(layer).__name__} takes {', '.join(names)}")
    for name, value in kwargs.items():
        own = names[0] if name == "input" else name
        if own not in names or own in given:
            raise NoTwin(f"{type(layer).__name__} takes no argument {name}")
        given[own] = value
    inputs = tuple(given.get(name) for name in names)
    if any(not isinstance(x, Value | None) for x in inputs):
        raise NoTwin(f"{type(layer).__name__} is called with something that is no tensor")
    return Call(layer, inputs)


def _packed(layer: Any, input: PackedRefs, hx: Any = None) -> Call:
    """Return the twin of a recurrent module on a PackedSequence."""
    states = () if hx is None else (hx,) if isinstance(hx, Value) else tuple(hx)
    first = layer._twin(batch_first=False)
    order = None if input.sorted_indices is None else input.sorted_indices.array
    return Call(PackedRecurrent(first, input.batch_sizes.array, order), (input.data, *states))


def layer_of(module: nn.Module) -> Layer:
    """Return the hand-written layer with a torch module's arguments, parameters and buffers.

    Raises:
        NoTwin: torch.nn has no such class, it holds other modules, or nothing is written for it.
    """
    cls = type(module)
    if not cls.__module__.startswith("torch.nn.") or next(module.children(), None) is not None:
        raise NoTwin(f"{cls.__name__} is no single layer of torch.nn")
    if cls.__name__ == "CTCLoss":  # whose gradient in torch is that behind a log_softmax
        raise NoTwin("CTCLoss is taken as its function")
    known = registry.LAYERS.get(cls.__name__) or registry.LOSSES.get(cls.__name__)
    if known is None:
        raise NoTwin(f"nothing hand-written stands for {cls.__name__}")
    try:
        layer = known(**_arguments(known, module)).train(module.training)
        return _with_state(layer, module)
    except (ValueError, TypeError, KeyError) as error:
        raise NoTwin(f"the hand-written {cls.__name__} differs: {error}") from None


def _arguments(known: type, module: nn.Module) -> dict[str, Any]:
    """Return the constructor's arguments, from the module's attributes of their names.

    Raises:
        NoTwin: torch's class takes one of them, and keeps it elsewhere.
    """
    found = {}
    for name, parameter in signature(known).parameters.items():
        attribute = ATTRIBUTES.get((known.__name__, name), name)
        if parameter.kind in KINDS and hasattr(module, attribute):
            value = getattr(module, attribute)
            own = attribute in module._parameters  # `bias`: whether there is one
            found[name] = (value is not None) if own else _plain(value)
        elif name[0] != "_" and name in signature(type(module)).parameters:
            raise NoTwin(f"{known.__name__} does not tell its {name}")
    return found


def _plain(value: Any) -> Any:
    return array_of(value) if isinstance(value, Tensor) else value


def _with_state(layer: Layer, module: nn.Module) -> Layer:
    own = {k: p.detach() for k, p in module.named_parameters()}
    if layer.params.keys() != own.keys():
        raise NoTwin(f"{type(layer).__name__} has other parameters than torch's")
    if own:
        layer = layer.with_params({k: own[k].numpy() for k in layer.params})
    buffers = {k: b for k, b in module.named_buffers() if k in layer.buffers}
    if layer.buffers.keys() != buffers.keys():
        raise NoTwin(f"{type(layer).__name__} has other buffers than torch's")
    if buffers:
        layer = layer.with_buffers({k: np.array(b.numpy()) for k, b in buffers.items()})
    return layer
