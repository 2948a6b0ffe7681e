"""What stands on torch's side of a quantity: the module, and the nodes of autograd's graph."""

from __future__ import annotations

from typing import Any

from compare.judge.quantities import Key
from manual.nodes import path_of


def torch_words(experiment: Any, key: Key) -> tuple[str, str]:
    """Return torch's module as it prints itself, and the grad_fn that this run left.

    To be called before torch's next step, which replaces its graph.
    """
    side = experiment.torch
    kind = key.quantity.partition(":")[0]
    if kind in ("param", "state"):
        return f"torch.optim.{type(side.optimizer).__name__}", ""
    name = _whose(experiment, key)
    by_path = {path_of(n): m for n, m in side.network.modules_by_node.items()}
    path = path_of(name)  # or of a part of a module: attention.out_proj
    module = (
        side.loss_module
        if name == "loss"
        else by_path.get(path) or side.network.model.get_submodule(path)
    )
    tensor = side.loss if name == "loss" else side.network.taps.get(name)
    return _named(module), _chain(getattr(tensor, "grad_fn", None))


def _whose(experiment: Any, key: Key) -> str:
    """Return the node whose autograd node computes a quantity: for a gradient, who reads it."""
    if key.quantity.partition(":")[0] not in ("grad_output", "grad_input"):
        return key.layer
    graph = experiment.manual.graph
    if key.layer == graph.output:
        return "loss"
    _, _, port = key.quantity.partition(":")
    value = f"{key.layer}:{port}" if port else key.layer
    return next((node.name for node in graph.nodes if value in node.inputs), key.layer)


def _named(module: Any) -> str:
    ours = type(module).__module__.startswith("torch.nn")
    return f"torch.nn.{module!r}" if ours else f"{module!r}, written with torch operations"


def _chain(grad_fn: Any) -> str:
    """Return a grad_fn's name, and those that it hands its gradients to."""
    if grad_fn is None:
        return ""
    after = [type(f).__name__ for f, _ in grad_fn.next_functions if f is not None]
    name = type(grad_fn).__name__
    return f"{name} → {', '.join(after)}" if after else name
