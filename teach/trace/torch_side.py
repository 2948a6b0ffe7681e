"""The same graph in torch: autograd's gradient of every value and along every edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from compare.judge.quantities import Key, Values
from manual.expression import Expression
from manual.graph import Array, Node
from manual.registry import GATES
from teach.trace.edges import edge_key, edges, summed_names
from torch_ref.gates import GateGraph
from torch_ref.side import array_of


@dataclass(frozen=True)
class Described:
    """A node as both sides are built from: names and numbers only."""

    name: str
    type: str
    args: Mapping[str, Any]
    inputs: tuple[str, ...]


def torch_values(formula: Expression, upstream: Array) -> Values:
    """Return values and gradients by the keys of the hand-written side."""
    graph = GateGraph([described(node) for node in formula.graph.nodes])
    graph.forward({name: _tensor(x) for name, x in formula.inputs.items()})
    graph.backward(_tensor(upstream))
    values: dict[Key, Any] = {
        Key(n.name, "value"): graph.values[n.name] for n in formula.graph.nodes
    }
    values |= {edge_key(e): graph.edges[e.node.name, e.position].grad for e in edges(formula)}
    values |= {Key(n, "gradient"): graph.values[n].grad for n in summed_names(formula)}
    return {key: array_of(found) for key, found in values.items() if found is not None}


def described(node: Node) -> Described:
    """Return a gate's name and numbers; a class made from a gate counts as that gate."""
    names = (cls.__name__ for cls in type(node.layer).__mro__)
    kind = next(name for name in names if name in GATES)
    return Described(node.name, kind, vars(node.layer), node.inputs)


def _tensor(x: Array) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)
