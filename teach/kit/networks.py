"""Loss and gradients of a network, by hand and by autograd, under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from manual.graph import Graph

if TYPE_CHECKING:
    from torch import nn

Named = dict[str, Any]


def gradients(graph: Graph, loss: Any, params: Mapping[str, Any], x: Any, y: Any) -> Named:
    """Return the loss and d loss / d every parameter, by the hand-written layers.

    A function of its arrays alone, so `gauged(gradients, graph, loss, params, x, y)` works.
    """
    network = graph.with_params(params)
    tape = network.run(x)
    value, cache = loss.forward(tape.output, y)
    (grad_output, *_), _ = loss.backward(1.0, cache)
    return {"loss": value, **network.gradients(tape, grad_output).params}


def torch_gradients(
    model: nn.Module, loss: Any, params: Mapping[str, Any], x: Any, y: Any
) -> Named:
    """Return the same of a torch module, by autograd, from the same initial weights."""
    import torch

    model = model.double()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in params.items()})
    model.zero_grad()
    value = loss(model(torch.from_numpy(x)), torch.from_numpy(y))
    value.backward()
    found = {
        name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None
    }
    return {"loss": value.item(), **found}
