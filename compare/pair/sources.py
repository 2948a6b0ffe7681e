"""The text behind a formula, for people: its source, its derivation, and torch's counterpart."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from compare.pair.plant import PlantedOptimizer
from compare.pair.wrapped import Wrapped


def unplanted(formula: Any) -> Any:
    """Return the layer or optimiser under a planted mistake, and whatever else is around it."""
    while isinstance(formula, Wrapped):
        formula = formula.layer
    return formula.optimizer if isinstance(formula, PlantedOptimizer) else formula


def source_of(formula: Any, method: str) -> str:
    """Return the hand-written source of a method, without its docstring."""
    own = unplanted(formula)
    function = getattr(getattr(own, "piece", type(own)), method, None)  # a user's piece is theirs
    try:
        lines = textwrap.dedent(inspect.getsource(function)) if function else ""
    except (OSError, TypeError):
        return ""
    doc = getattr(function, "__doc__", None)
    if doc and '"""' in lines:
        head, _, rest = lines.partition('"""')
        lines = head.rstrip(" r\n") + rest.partition('"""')[2]
    return lines.rstrip()


def docstring_of(function: Any) -> str:
    """Return what its author wrote: neither what it inherits nor what stands in torch."""
    own = (getattr(function, "__module__", None) or "").partition(".")[0] != "torch"
    return inspect.cleandoc(getattr(function, "__doc__", None) or "") if own else ""


def derivation_of(formula: Any) -> str:
    """Return the derivation: the docstring of `backward` (or `update`), else of the class."""
    owner = type(unplanted(formula))
    if (piece := getattr(formula, "piece", None)) is not None:
        return docstring_of(getattr(piece, "backward", None))
    for name in ("backward", "update"):
        doc = vars(owner).get(name) and inspect.getdoc(vars(owner)[name])
        if doc:
            return doc
    return inspect.getdoc(owner) or ""


def torch_text(experiment: Any, layer: str) -> str:
    """Return torch's module at this node as it prints itself, or its loss."""
    side = experiment.torch
    module = side.loss_module if layer == "loss" else side.network.modules_by_node.get(layer)
    if module is None:
        return ""
    tap = side.network.taps.get(layer)
    grad_fn = getattr(side.loss if layer == "loss" else tap, "grad_fn", None)
    name = f"\ngrad_fn: {type(grad_fn).__name__}" if grad_fn is not None else ""
    return (
        f"torch.nn.{module!r}{name}"
        if type(module).__module__.startswith("torch.nn")
        else (f"{module!r}{name}")
    )
