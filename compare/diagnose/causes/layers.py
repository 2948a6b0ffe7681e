"""What is known of one layer of a lockstep run, for the search of a cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from compare.diagnose.causes import replaced
from compare.diagnose.causes.alone import Alone
from compare.diagnose.causes.arguments import variants
from compare.diagnose.causes.cause import Alternative, Context
from compare.diagnose.causes.context import gradient_context
from compare.diagnose.causes.piece import Piece, attempt
from compare.diagnose.causes.settings import numbers

SIMPLE = (bool, int, float, str, tuple)
ARGUMENT = "Compare the constructor's arguments and defaults with torch's."


def layer_context(alone: Alone, name: str, quantity: str, sizes: Mapping[str, int]) -> Context:
    """Return what is known of a layer's `output`, `grad_input#0` or `grad:weight`."""
    inputs, params = alone.inputs(name), alone.params(name)
    labels = ["x" if len(inputs) == 1 else f"x{i}" for i in range(len(inputs))]
    tensors, names = (*inputs, *params.values()), (*labels, *params)
    function = _function(alone, name, list(params))
    widths = dict(sizes)
    if inputs[0].ndim:
        widths["the number of inputs"] = inputs[0].shape[-1]
    if quantity == "output":
        return _output_context(alone, name, function, tensors, names, widths)
    wrt = _position(quantity, len(inputs), list(params))
    context = gradient_context(
        function, tensors, wrt, alone.upstream(name), names=names, sizes=widths,
        samples=wrt < len(inputs), dtype="float64",
    )  # fmt: skip
    usual = context.alternatives or (lambda: ())

    def known() -> Iterator[Alternative]:
        yield from usual()
        for what, other in _variants(alone, name, list(params)):
            piece = Piece(other, tensors, names, wrt, alone.upstream(name))
            value = attempt(piece.vjp)
            if value is not None:
                yield Alternative("argument", f"what torch gives with {what}", ARGUMENT, value)

    def make(other: Callable) -> np.ndarray:
        return Piece(other, tensors, names, wrt, alone.upstream(name)).vjp()

    context = replace(context, places={**context.places, **_mask(alone, name, inputs[0])})
    found = list(_settings(alone, name, make))
    constants = {what: now for what, now, _ in found}
    return replace(context, alternatives=known, settings=lambda: found, constants=constants)


def _output_context(
    alone: Alone, name: str, function: Callable, tensors: tuple, names: tuple, sizes: Mapping
) -> Context:
    """Return what is known of a layer's output."""
    piece = Piece(function, tensors, names, 0, np.zeros(0))
    y = piece.output()
    pairs = list(zip(names, tensors, strict=True))
    others = {n: np.broadcast_to(a, y.shape) for n, a in pairs if _fits(a, y)}
    found = list(
        _settings(alone, name, lambda f: Piece(f, tensors, names, 0, np.zeros(0)).output())
    )

    def known() -> Iterator[Alternative]:
        yield from replaced.outputs(piece)
        for what, other in _variants(alone, name, [n for n in names if n in alone.params(name)]):
            value = attempt(Piece(other, tensors, names, 0, np.zeros(0)).output)
            if value is not None:
                yield Alternative("argument", f"what torch gives with {what}", ARGUMENT, value)

    return Context(
        sizes=sizes, batch_axis=0, others=others, alternatives=known,
        settings=lambda: found, constants={what: now for what, now, _ in found},
        places={n: a for n, a in pairs if a.shape == y.shape} | {"y": y} | _mask(alone, name, y),
    )  # fmt: skip


def _settings(
    alone: Alone, name: str, make: Callable[[Callable], np.ndarray]
) -> Iterator[tuple[str, float, Callable]]:
    """Yield the numbers among torch's arguments, with what `make` gives for other values."""
    owner, args = _made_of(alone, name)
    keys = list(alone.params(name))
    for what, now, arguments in numbers(owner, args):

        def given(value: float, arguments: Callable = arguments) -> Any:
            return attempt(lambda: make(_call(owner(**arguments(value)), keys)))

        yield what, now, given


def _mask(alone: Alone, name: str, like: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a random layer kept: 1 or 0 for each element."""
    mask = alone.start.noise.get(name)
    return {} if mask is None else {"the mask": np.broadcast_to(mask, like.shape) * 1.0}


def _made_of(alone: Alone, name: str) -> tuple[Any, dict[str, Any]]:
    """Return the class of torch's layer and the arguments that make one: described, or its own."""
    module = alone.experiment.torch.network.modules_by_node[name]
    described = (s.args for s in alone.experiment.layers if s.name == name)
    own = {
        k: v for k in signature(type(module)).parameters if isinstance(v := _own(module, k), SIMPLE)
    }
    return type(module), next(described, own)


def _own(module: Any, argument: str) -> Any:
    """Return what a module kept of an argument; of a parameter whether there is one."""
    kept = getattr(module, argument, None)
    return argument in module._parameters and kept is not None if argument == "bias" else kept


def _variants(alone: Alone, name: str, keys: list[str]) -> Iterator[tuple[str, Callable]]:
    """Yield torch's layer with one argument changed, as a function of inputs and parameters."""
    owner, given = _made_of(alone, name)
    for what, args in variants(owner, given):
        if other := attempt(partial(owner, **args)):
            yield what, _call(other, keys)


def _function(alone: Alone, name: str, keys: list[str]) -> Callable:
    """Return torch's layer as a function of its inputs and parameters; random ones repeat."""
    network = alone.experiment.torch.network
    module: Any = network.modules_by_node[name]
    mask = alone.start.noise.get(name)
    if mask is None:
        return _call(module, keys)
    return lambda x: x * (_tensor(mask) / (1 - module.p))


def _call(module: Any, keys: list[str]) -> Callable:
    from torch.func import functional_call

    def call(*tensors: Any) -> Any:
        n = len(tensors) - len(keys)
        return functional_call(module, dict(zip(keys, tensors[n:], strict=True)), tensors[:n])

    return call


def _tensor(a: Any) -> Any:
    import torch

    return torch.tensor(a)


def _position(quantity: str, inputs: int, params: list[str]) -> int:
    kind, _, rest = quantity.replace("#", ":").partition(":")
    return int(rest) if kind == "grad_input" else inputs + params.index(rest)


def _fits(a: np.ndarray, y: np.ndarray) -> bool:
    try:
        return np.broadcast_shapes(a.shape, y.shape) == y.shape
    except ValueError:
        return False
