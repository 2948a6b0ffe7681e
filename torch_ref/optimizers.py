"""Torch's own optimisers, built by name, with their state readable by parameter name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["OPTIMIZERS", "build", "clip_grad_norm", "clip_grad_value", "load_state", "set_lr",
           "state_of"]  # fmt: skip

OPTIMIZERS = (
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "Muon",
    "NAdam", "RAdam", "RMSprop", "Rprop", "SparseAdam",
)  # fmt: skip
LOOPS = ("LBFGS", "Muon", "SparseAdam")  # have one implementation, and no argument to choose it
SINGLE = ("step", "eta", "mu", "mu_product")  # numbers of a state that torch keeps in float32
States = dict[str, dict[str, Tensor]]
Groups = Sequence[tuple[Sequence[str], Mapping[str, Any]]]


def build(
    name: str, params: Mapping[str, Parameter], args: Mapping[str, Any], groups: Groups = (),
) -> torch.optim.Optimizer:  # fmt: skip
    """Return torch.optim's optimiser of this name over `params`, its state still empty.

    It runs torch's plain loop over parameters (`foreach` off) unless the arguments say otherwise.
    `groups` are parameters' names with settings of their own: torch's parameter groups.

    Raises:
        ValueError: an unknown name, or arguments that torch refuses.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"Unknown optimiser '{name}'; known are {', '.join(OPTIMIZERS)}.")
    options = tuples(args)
    plain = {} if name in LOOPS or options.get("fused") else {"foreach": False}
    rest = [p for key, p in params.items() if not any(key in names for names, _ in groups)]
    parts = [{"params": [params[n] for n in names], **tuples(own)} for names, own in groups]
    grouped = [{"params": rest}, *parts] if rest else parts
    return getattr(torch.optim, name)(grouped if groups else rest, **{**plain, **options})


def tuples(args: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in args.items()}


def state_of(optimizer: torch.optim.Optimizer, params: Mapping[str, Parameter]) -> States:
    """Return torch's live state by dotted name and state name, {} for a parameter without any.

    Numbers that torch keeps as Python's (SparseAdam's `step`) are tensors here.
    """
    return {
        name: {
            key: torch.as_tensor(value)
            for key, value in optimizer.state.get(p, {}).items()
            if value is not None
        }
        for name, p in params.items()
    }


def load_state(
    optimizer: torch.optim.Optimizer,
    params: Mapping[str, Parameter],
    states: Mapping[str, Mapping[str, Any]],
) -> None:
    """Copy a state in, as `state_of` lays it out (arrays, tensors or numbers); the rest goes.

    `step` and its like stay float32 numbers on the CPU, as torch makes them; the rest takes the
    parameter's dtype and device.
    """
    optimizer.state.clear()
    for name, state in states.items():
        p = params[name]
        for key, value in state.items():
            like = (
                {"dtype": torch.float32}
                if key in SINGLE
                else {"dtype": p.dtype, "device": p.device}
            )
            source = value.detach().clone() if isinstance(value, Tensor) else torch.tensor(value)
            optimizer.state[p][key] = source.to(**like)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next steps."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def clip_grad_norm(params: Iterable[Parameter], max_norm: float) -> Tensor:
    """Clip the gradients in place by their joint norm; return the norm they had."""
    return torch.nn.utils.clip_grad_norm_(params, max_norm)


def clip_grad_value(params: Iterable[Parameter], clip_value: float) -> None:
    """Clip the gradients in place, element by element."""
    torch.nn.utils.clip_grad_value_(params, clip_value)
