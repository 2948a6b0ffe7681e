"""What is known of the loss of a lockstep run, for the search of a cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from compare.diagnose.causes.alone import Alone
from compare.diagnose.causes.arguments import variants
from compare.diagnose.causes.cause import Alternative, Context
from compare.diagnose.causes.formulas import FUSED
from compare.diagnose.causes.layers import ARGUMENT
from compare.diagnose.causes.piece import Piece, attempt
from compare.diagnose.causes.settings import numbers

ONE = np.ones(())
FUSED_ADVICE = (
    "That formula already holds the activation's derivative: use it with the loss that takes the "
    "activation's input, or leave the derivative to the activation."
)


def loss_context(alone: Alone, _: str, quantity: str, sizes: Mapping[str, int]) -> Context:
    """Return what is known of the loss's value or of its gradient."""
    if quantity == "loss":
        return Context(
            sizes=sizes,
            constants=numbers_of(alone),
            alternatives=lambda: _arguments(alone, quantity),
        )
    output, target = alone.output(), alone.start.target
    known = {"the output": output}
    masks = {}
    if output.shape == target.shape:
        known |= {"the target": target.astype(np.float64), "(output − target)": output - target}
    elif target.dtype.kind in "iu" and output.ndim == 2:
        masks["the true class's entries"] = np.arange(output.shape[1]) == np.reshape(
            target, (-1, 1)
        )
        known["softmax(output)"] = softmax(output)
    factors = _factors(type(alone.experiment.torch.loss_module).__name__, output)
    if output.shape == target.shape:
        factors |= _weights(alone, output)
    return Context(
        sizes=sizes, batch_axis=0, places=known, factors=factors, masks=masks, others=known,
        terms=_terms(alone, output), alternatives=lambda: _alternatives(alone, output),
        constants=numbers_of(alone), settings=lambda: _settings(alone),
    )  # fmt: skip


def _weights(alone: Alone, output: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights among the loss's arguments, for each element."""
    given = alone.experiment.config.loss.args
    named = {"the weight": given.get("weight"), "pos_weight": given.get("pos_weight")}
    return {
        name: np.broadcast_to(np.asarray(w, dtype=np.float64), output.shape)
        for name, w in named.items()
        if w is not None
    }


def of_yes_or_no(loss: str, output: np.ndarray) -> dict[str, np.ndarray]:
    """Return the logarithms that the losses of 0/1 targets are made of."""
    if loss == "BCELoss":
        with np.errstate(divide="ignore"):
            return {"log p": np.log(output), "log(1 − p)": np.log1p(-output)}
    if loss != "BCEWithLogitsLoss":
        return {}
    return {"log σ": -np.logaddexp(0, -output), "log(1 − σ)": -np.logaddexp(0, output)}


def _factors(loss: str, output: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the formulas of yes-or-no losses are made of."""
    if loss == "BCELoss":
        return {"(1 − output)": 1 - output} | of_yes_or_no(loss, output)
    if loss != "BCEWithLogitsLoss":
        return {}
    p = softmax(np.stack([np.zeros_like(output), output], axis=-1))
    known = {"σ(output)": p[..., 1], "(1 − σ(output))": p[..., 0], "(1 − output)": 1 - output}
    return known | of_yes_or_no(loss, output)


def softmax(x: np.ndarray) -> np.ndarray:
    """Return torch's softmax of the last axis."""
    import torch

    return torch.softmax(torch.tensor(x), -1).numpy()


def _alternatives(alone: Alone, output: np.ndarray) -> Iterator[Alternative]:
    yield from _arguments(alone, "grad_input")
    right = Piece(alone.loss_with(), (output,), ("the output",), 0, ONE).vjp()
    for what, slope in FUSED.items():
        yield Alternative("fused formula", what, FUSED_ADVICE, right * slope(output))


def numbers_of(alone: Alone) -> dict[str, float]:
    """Return the numbers among the loss's arguments."""
    owner: Any = type(alone.experiment.torch.loss_module)
    found = numbers(owner, alone.experiment.config.loss.args)
    return {name: now for name, now, _ in found if "[" not in name}


def _settings(alone: Alone) -> Iterator[tuple[str, float, Callable]]:
    """Yield the numbers among torch's arguments, with the gradient for other values."""
    import torch

    owner: Any = type(alone.experiment.torch.loss_module)

    def gradient(args: dict[str, Any]) -> np.ndarray:
        lists = {k: torch.tensor(v) if isinstance(v, list | tuple) else v for k, v in args.items()}
        return Piece(alone.loss_with(owner(**lists)), (alone.output(),), ("y",), 0, ONE).vjp()

    for name, now, arguments in numbers(owner, alone.experiment.config.loss.args):
        yield name, now, lambda v, a=arguments: attempt(lambda: gradient(a(v)))


def _arguments(alone: Alone, quantity: str) -> Iterator[Alternative]:
    """Yield what torch's loss gives with other arguments."""
    import torch

    owner = type(alone.experiment.torch.loss_module)
    for what, args in variants(owner, alone.experiment.config.loss.args):
        lists = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in args.items()}
        module = attempt(partial(owner, **lists))
        piece = module and Piece(alone.loss_with(module), (alone.output(),), ("y",), 0, ONE)
        value = piece and attempt(piece.output if quantity == "loss" else piece.vjp)
        if value is not None:
            yield Alternative("argument", f"what torch gives with {what}", ARGUMENT, value)


def _terms(alone: Alone, output: np.ndarray) -> dict[str, np.ndarray]:
    """Return the two terms of cross-entropy's gradient, p Q − q: the softmax's and the target's."""
    module: Any = alone.experiment.torch.loss_module
    target = alone.start.target
    if type(module).__name__ != "CrossEntropyLoss" or target.dtype.kind not in "iu":
        return {}
    p = softmax(output)
    right = Piece(alone.loss_with(), (output,), ("the output",), 0, ONE).vjp()
    if module.label_smoothing == 0:
        others = np.where(np.arange(p.shape[1]) == target.reshape(-1, 1), 0.0, p)
        best = others.argmax(axis=1).reshape(-1, 1)  # an entry that the target does not touch
        share = np.take_along_axis(right / p, best, axis=1)
    elif module.weight is None:
        count = len(p) if module.reduction == "mean" else 1
        share = np.where(right.any(axis=1, keepdims=True), 1 / count, 0.0)
    else:
        return {}
    return {"the softmax's term": share * p, "the target's term": right - share * p}
