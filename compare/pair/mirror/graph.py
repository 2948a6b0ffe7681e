"""The hand-written graph of a captured run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from compare.pair.mirror.derive import Twin, left_to_torch
from compare.pair.mirror.given import GivenPiece
from manual.graph import Graph, Node
from manual.nodes import dotted
from torch_ref.capture import Capture
from torch_ref.captured import CapturedCall, paired
from torch_ref.captured_side import CapturedNetwork

__all__ = ["Mirrored", "mirrored"]


class Mirrored(NamedTuple):
    """A graph, what is given to it as data, and what torch computes in it."""

    graph: Graph
    data: dict[str, np.ndarray]
    by_torch: dict[str, str]  # node: why
    idle: tuple[str, ...]  # calls that lead to no loss


def mirrored(network: CapturedNetwork, capture: Capture, loss: Tensor) -> Mirrored:
    """Return the graph of what led to a loss; the module holds its parameters."""
    for call in capture.calls:
        if call.twin is None or isinstance(call.twin.layer, GivenPiece):
            call.twin = left_to_torch(call, network)
    end = capture.name_of(loss)
    calls = _leading_to(end, capture.calls)
    nodes = [Node(call.name, call.twin.layer, call.twin.names) for call in calls]
    made = {name for call in calls for name in call.outputs}
    read = [name for node in nodes for name in node.inputs if name is not None]
    outer = dict.fromkeys(name for name in (*read, end) if name not in made)
    casts = {k: v for call in calls for k, v in call.twin.casts.items()}
    names, tied = _parameters(capture.module)
    free = {n: _array(capture.module, n) for n in outer if n in names}
    data = {
        name: casts[name] if name in casts else paired(capture.tensor(name).detach()).numpy()
        for name in outer
        if name not in names
    }
    own = {dotted(node.name, key) for node in nodes for key in node.layer.params}
    shared = {n: tied[n] for n in own if n in tied}
    free |= {o: _array(capture.module, o) for o in shared.values() if o not in own}
    free = {name: array for name, array in free.items() if name not in own}
    graph = Graph(nodes, tuple(data), {"output": end}, shared, free)
    torch_nodes = {call.name: call.twin.why for call in calls if call.twin.why}
    idle = tuple(call.name for call in capture.calls if call not in calls)
    return Mirrored(graph, data, torch_nodes, idle)


def _leading_to(end: str, calls: list[CapturedCall]) -> list[CapturedCall]:
    """Return the calls that a value is computed from, in their order."""
    wanted, kept = {end}, []
    for call in reversed(calls):
        twin: Twin = call.twin
        if not wanted.isdisjoint(call.outputs):
            kept.append(call)
            wanted.update(name for name in twin.names if name is not None)
    return kept[::-1]


def _parameters(module: nn.Module) -> tuple[set[str], dict[str, str]]:
    """Return the parameters' names, and of those that share a tensor which name is whose."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owner = first.setdefault(id(parameter), name)
        if owner != name:
            tied[name] = owner
    return set(first.values()), tied


def _array(module: nn.Module, name: str) -> Any:
    with torch.no_grad():
        return module.get_parameter(name).numpy()
