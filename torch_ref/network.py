"""The identical torch.nn model, built from the same network description, with taps on every node.

Modules are torch's own, except the few that torch lacks (`torch_ref.layers`). Autograd does every
derivative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from torch_ref.classes import module_class

INPUT = "input"


class NodeDescription(Protocol):
    """What both sides are built from: a name, a class name with its arguments, and its inputs."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def args(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> Sequence[str]: ...


class Network(nn.Module):
    """The graph of modules; in `model` they sit at their dotted paths, so `state_dict` keys match.

    After a forward pass `taps` holds every node's output; after the backward pass each tap's
    `.grad` is the gradient of the loss with respect to it, summed over its branches.
    """

    def __init__(self, nodes: Iterable[NodeDescription]) -> None:
        super().__init__()
        self.nodes = list(nodes)
        self.taps: dict[str, Tensor] = {}
        self.noise: dict[str, Tensor] = {}
        self._generator_states: dict[str, Tensor] = {}
        self.model = nn.Module()
        self.modules_by_node = {node.name: self._place(node) for node in self.nodes}

    def _place(self, node: NodeDescription) -> nn.Module:
        module = module_class(node.type)(**node.args)
        parent = self.model
        *path, last = node.name.split(".")
        for part in path:
            if part not in parent._modules:
                _add(parent, part, nn.Module(), node.name)
            parent = parent._modules[part]  # type: ignore[assignment]
        _add(parent, last, module, node.name)
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Visit the nodes in order, leaving every output on its tap."""
        values = {INPUT: x}
        for node in self.nodes:
            module = self.modules_by_node[node.name]
            arguments = [values[name] for name in node.inputs]
            if isinstance(module, nn.Dropout) and module.training:
                self._generator_states[node.name] = _generator_state(x)
                self.noise[node.name] = _mask_of_next_draw(module, arguments[0])
            y = module(*arguments)
            if y.requires_grad:
                y.retain_grad()
            values[node.name] = y
        self.taps = values
        return y

    def alone(
        self,
        name: str,
        inputs: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        grad_output: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
        """Run one node by itself: its output, input gradients and parameter gradients.

        A random layer repeats the draw of the last forward pass.
        """
        module = self.modules_by_node[name]
        inputs = [x.detach().requires_grad_() for x in inputs]
        parameters = {k: p.detach().requires_grad_() for k, p in parameters.items()}
        with torch.random.fork_rng(devices=_devices(grad_output)):
            if name in self._generator_states:
                _set_generator_state(grad_output, self._generator_states[name])
            y = functional_call(module, parameters, tuple(inputs))
        grads = torch.autograd.grad(y, [*inputs, *parameters.values()], grad_output)
        own = dict(zip(parameters, grads[len(inputs) :], strict=True))
        return y.detach(), grads[: len(inputs)], own


def _add(parent: nn.Module, part: str, module: nn.Module, name: str) -> None:
    if hasattr(parent, part):
        raise ValueError(
            f"the layer name '{name}' cannot be a path in a torch module: '{part}' is taken there, "
            "by torch itself or by another layer; choose another name"
        )
    parent.add_module(part, module)


def _devices(x: Tensor) -> list[torch.device]:
    return [x.device] if x.is_cuda else []


def _generator_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


def _set_generator_state(x: Tensor, state: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.set_rng_state(state, x.device)
    else:
        torch.set_rng_state(state)


def _mask_of_next_draw(module: nn.Dropout, x: Tensor) -> Tensor:
    """Return the 0/1 mask that the module is about to draw, leaving the generator untouched."""
    with torch.random.fork_rng(devices=_devices(x)), torch.no_grad():
        kept = module(torch.ones_like(x))
    return kept != 0


def topological(nodes: Sequence[NodeDescription]) -> list[NodeDescription]:
    """Order the nodes so that each follows what feeds it; the manual side finds its own order."""
    placed, waiting, ordered = {INPUT}, list(nodes), []
    while waiting:
        ready = next((n for n in waiting if placed.issuperset(n.inputs)), None)
        if ready is None:
            raise ValueError(f"The nodes form a cycle: {', '.join(n.name for n in waiting)}.")
        waiting.remove(ready)
        placed.add(ready.name)
        ordered.append(ready)
    return ordered
