"""What is known of one layer or loss of a lockstep run, for the search of a cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from compare.causes.alone import Alone
from compare.causes.arguments import variants
from compare.causes.cause import Alternative, Context
from compare.causes.context import gradient_context
from compare.causes.formulas import FUSED
from compare.causes.piece import Piece

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
            value = _attempt(piece.vjp)
            if value is not None:
                yield Alternative("argument", f"what torch gives with {what}", ARGUMENT, value)

    return replace(context, alternatives=known)


def _output_context(
    alone: Alone, name: str, function: Callable, tensors: tuple, names: tuple, sizes: Mapping
) -> Context:
    """Return what is known of a layer's output."""
    y = Piece(function, tensors, names, 0, np.zeros(0)).output()
    pairs = list(zip(names, tensors, strict=True))
    others = {n: np.broadcast_to(a, y.shape) for n, a in pairs if _fits(a, y)}

    def known() -> Iterator[Alternative]:
        for what, other in _variants(alone, name, [n for n in names if n in alone.params(name)]):
            value = _attempt(Piece(other, tensors, names, 0, np.zeros(0)).output)
            if value is not None:
                yield Alternative("argument", f"what torch gives with {what}", ARGUMENT, value)

    return Context(
        sizes=sizes, batch_axis=0, others=others, alternatives=known,
        places={n: a for n, a in pairs if a.shape == y.shape},
    )  # fmt: skip


def loss_context(alone: Alone, _: str, quantity: str, sizes: Mapping[str, int]) -> Context:
    """Return what is known of the loss's value or of its gradient."""
    output, target = alone.output(), alone.start.target
    one = np.ones(())
    context = Context(sizes=sizes, alternatives=lambda: _losses(alone, quantity))
    if quantity == "loss":
        return context
    residual = {"output − target": output - target} if output.shape == target.shape else {}
    true = {}
    if target.dtype.kind in "iu" and output.ndim == 2:
        classes = np.arange(output.shape[1])
        true = {"the true class's entries": classes == np.reshape(target, (-1, 1))}
    piece = Piece(alone.loss_with(), (output,), ("the output",), 0, one)
    fused = lambda: (*_losses(alone, quantity), *_fused(output, piece.vjp()))  # noqa: E731
    return replace(
        context, batch_axis=0, places={"the output": output, **residual}, masks=true,
        others={"the output": output, **residual}, alternatives=fused,
    )  # fmt: skip


def _losses(alone: Alone, quantity: str) -> Iterator[Alternative]:
    """Yield what torch's loss gives with other arguments."""
    import torch

    side = alone.experiment
    owner = type(side.torch.loss_module)
    for what, args in variants(owner, side.config.loss.args):
        lists = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in args.items()}
        module = _attempt(partial(owner, **lists))
        piece = module and Piece(alone.loss_with(module), (alone.output(),), ("y",), 0, np.ones(()))
        value = piece and _attempt(piece.output if quantity == "loss" else piece.vjp)
        if value is not None:
            yield Alternative("argument", f"what torch gives with {what}", ARGUMENT, value)


def _fused(p: np.ndarray, right: np.ndarray) -> Iterator[Alternative]:
    for what, slope in FUSED.items():
        advice = (
            "That formula already holds the activation's derivative: use it with the loss that "
            "takes the activation's input, or leave the derivative to the activation."
        )
        yield Alternative("fused formula", what, advice, right * slope(p))


def _variants(alone: Alone, name: str, keys: list[str]) -> Iterator[tuple[str, Callable]]:
    """Yield torch's layer with one argument changed, as a function of inputs and parameters."""
    spec = next(s for s in alone.experiment.config.layers if s.name == name)
    module = dict(alone.experiment.torch.network.named_modules())[name]
    owner: Any = type(module)
    for what, args in variants(owner, spec.args):
        if other := _attempt(partial(owner, **args)):
            yield what, _call(other, keys)


def _function(alone: Alone, name: str, keys: list[str]) -> Callable:
    """Return torch's layer as a function of its inputs and parameters; random ones repeat."""
    network = alone.experiment.torch.network
    module = dict(network.named_modules())[name]
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


def _attempt(make: Callable[[], Any]) -> Any:
    """Return what torch gives, or None where it refuses the changed arguments."""
    try:
        return make()
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return None
