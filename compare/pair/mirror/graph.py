"""The hand-written graph of a captured run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from compare.errors import UserError
from compare.pair.mirror.derive import left_to_torch
from compare.pair.mirror.equals import among_equals
from compare.pair.mirror.given import GivenPiece
from compare.pair.mirror.ported import Ported, ported
from manual.gates.picks import Picking
from manual.graph import Graph, Node
from manual.nodes import dotted, ports_of
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
    given: tuple[str, ...] = ()  # nodes of somebody's own graph
    alone: frozenset[str] = frozenset()  # their values that torch has no counterpart of
    left: frozenset[str] = frozenset()  # torch's that they have none of
    missing: frozenset[str] = frozenset()  # torch's parameters that they have none of


class Piece(NamedTuple):
    """A node of the mirror: a captured call's, or one of somebody's own graph."""

    node: Node
    outputs: tuple[str, ...]
    casts: dict[str, np.ndarray]
    why: str = ""  # torch computes it


def mirrored(
    network: CapturedNetwork,
    capture: Capture,
    loss: Tensor,
    graphs: Mapping[str, Graph] | None = None,
) -> Mirrored:
    """Return the graph of what led to a loss; the module holds its parameters.

    Args:
        graphs: somebody's own, in the place of the modules of these paths.
    """
    for call in capture.calls:
        if call.twin is None or isinstance(call.twin.layer, GivenPiece):
            call.twin = left_to_torch(call, network)
        elif isinstance(call.twin.layer, Picking) and len(call.outputs) == 2:
            _take_torchs(call, capture)
    own = [ported(graphs[p.path], p, capture) for p in capture.passes] if graphs else []
    made, end = _pieces(capture, own), capture.name_of(loss)
    _refuse_clash([piece.node.name for piece in made])
    end = {t: o for port in own for t, o in port.results.items()}.get(end, end)
    pieces = _leading_to(end, made)
    graph, data = _assembled(
        pieces, end, capture, {k: v for port in own for k, v in port.tied.items()}
    )
    kept = {piece.node.name for piece in pieces}
    inside = {c.name for p in capture.passes for c in capture.calls[p.first : p.last]}
    return Mirrored(
        graph,
        data,
        {piece.node.name: piece.why for piece in pieces if piece.why},
        tuple(c.name for c in capture.calls if c.name not in kept and c.name not in inside),
        tuple(node.name for port in own for node in port.nodes),
        frozenset().union(*(port.alone for port in own)),
        frozenset().union(*(port.left for port in own)),
        frozenset().union(*(port.missing for port in own)),
    )


def _refuse_clash(names: Sequence[str]) -> None:
    """Refuse a port's node that is called as something outside of its module is."""
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise UserError(
            f"twin: the name '{twice[0]}' of your own graph is also that of a call outside of what "
            "it stands for. Give the node another name."
        )


def _take_torchs(call: CapturedCall, capture: Capture) -> None:
    """Of equal elements, let the twin pick the one that torch did."""
    (name,) = call.twin.names
    indices = capture.values[call.outputs[1]].numpy()
    gate = among_equals(call.twin.layer, capture.tensor(name).detach().numpy(), indices)
    if gate is not call.twin.layer:
        capture.notes[f"of equal elements {call.name} picks those that torch picked"] += 1
        call.twin = call.twin._replace(layer=gate)


def _pieces(capture: Capture, own: Sequence[Ported]) -> list[Piece]:
    """Return all calls as nodes; somebody's own graphs stand where what they replace stood."""
    pieces: list[Piece] = []
    renamed: dict[str | None, str] = {}
    done = 0

    def take(calls: Sequence[CapturedCall]) -> None:
        for call in calls:
            layer, names, casts, why = call.twin
            names = tuple(renamed.get(name, name) for name in names)
            pieces.append(Piece(Node(call.name, layer, names), call.outputs, casts, why))

    for passed, port in zip(capture.passes, own, strict=False):
        take(capture.calls[done : passed.first])
        inputs = (tuple(renamed.get(n, n) for n in node.inputs) for node in port.nodes)
        nodes = [node._replace(inputs=i) for node, i in zip(port.nodes, inputs, strict=True)]
        pieces += [Piece(node, ports_of(node), {}) for node in nodes]
        renamed.update(port.results)
        done = passed.last
    take(capture.calls[done:])
    return pieces


def _assembled(
    pieces: list[Piece], end: str, capture: Capture, shared: dict[str, str]
) -> tuple[Graph, dict[str, np.ndarray]]:
    """Return the graph of these nodes, and the data that they take."""
    nodes = [piece.node for piece in pieces]
    made = {name for piece in pieces for name in piece.outputs}
    read = [name for node in nodes for name in node.inputs if name is not None]
    outer = dict.fromkeys(name for name in (*read, end) if name not in made)
    casts = {k: v for piece in pieces for k, v in piece.casts.items()}
    names, tied = _parameters(capture.module)
    free = {n: _array(capture.module, n) for n in outer if n in names}
    data = {
        name: casts[name] if name in casts else paired(capture.tensor(name).detach()).numpy()
        for name in outer
        if name not in names
    }
    own = {dotted(node.name, key) for node in nodes for key in node.layer.params}
    shared = shared | {n: tied[n] for n in own if n in tied}
    free |= {o: _array(capture.module, o) for o in shared.values() if o not in own}
    free = {name: array for name, array in free.items() if name not in own}
    return Graph(nodes, tuple(data), {"output": end}, shared, free), data


def _leading_to(end: str, pieces: list[Piece]) -> list[Piece]:
    """Return the nodes that a value is computed from, in their order."""
    wanted, kept = {end}, []
    for piece in reversed(pieces):
        if not wanted.isdisjoint(piece.outputs):
            kept.append(piece)
            wanted.update(name for name in piece.node.inputs if name is not None)
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
