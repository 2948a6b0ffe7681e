"""One edge of a graph of gates: its local gradient, in numbers or as a formula, and its pattern."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import Key
from manual import gates
from manual.expression import Expression
from manual.graph import Array, Arrays, Node

REDUCING = (gates.SumGate, gates.MeanGate, gates.SquaredNormGate)
PATTERNS: dict[type, str] = {
    gates.AddGate: "distributes",
    gates.SubtractGate: "distributes",
    gates.SumGate: "distributes",
    gates.MultiplyGate: "switches",
    gates.MatMulGate: "switches",
    gates.MaxGate: "routes",
    gates.AddConstantGate: "passes",
}
BRANCH = "adds at a branch"
TIE = "half at a tie"


class Edge(NamedTuple):
    """Where a gradient runs: from a gate back to one of its inputs."""

    node: Node
    position: int

    @property
    def source(self) -> str:
        return self.node.inputs[self.position]

    @property
    def pattern(self) -> str:
        """What the gate does with gradients, in a word."""
        kinds = (word for kind, word in PATTERNS.items() if isinstance(self.node.layer, kind))
        return next(kinds, "scales")


def edges(expression: Expression) -> list[Edge]:
    """Return the edges that lead to an input, in the order in which backward visits them."""
    alive = set(expression.graph.inputs)
    for node in expression.graph.nodes:
        if alive.intersection(node.inputs):
            alive.add(node.name)
    return [
        Edge(node, position)
        for node in reversed(expression.graph.nodes)
        for position, source in enumerate(node.inputs)
        if source in alive
    ]


def ties(expression: Expression, edge: Edge) -> bool:
    """Return whether a max gate has two equal inputs, of which each gets half."""
    values = (expression.values[name] for name in edge.node.inputs)
    return isinstance(edge.node.layer, gates.MaxGate) and bool(np.any(np.equal(*values)))


def branches(found: list[Edge]) -> dict[str, list[Edge]]:
    """Return the edges of every value that feeds more than one."""
    groups: dict[str, list[Edge]] = {}
    for edge in found:
        groups.setdefault(edge.source, []).append(edge)
    return {name: group for name, group in groups.items() if len(group) > 1}


def edge_gradients(expression: Expression, gradients: Arrays) -> dict[Edge, Array]:
    """Return what each gate hands back along each edge, given the gradients of the nodes."""
    found: dict[Edge, Array] = {}
    for edge in edges(expression):
        if edge not in found:
            node = edge.node
            caches = expression.tape.caches
            shares, _ = node.layer.backward(gradients[node.name], caches[node.name])
            found |= {Edge(node, i): share for i, share in enumerate(shares)}
    return found


def local_gradient(expression: Expression, edge: Edge) -> Any:
    """Return ∂node/∂input, element by element; of a matrix product the formula, as text.

    It is the gate's own backward under an upstream gradient of ones, before anything that was
    stretched is summed.
    """
    node, values = edge.node, expression.values
    inputs = [values[name] for name in node.inputs]
    shape = np.shape(values[node.name])
    if isinstance(node.layer, gates.MatMulGate):
        if shape != ():
            return matrix_formula(expression, edge)
    elif not isinstance(node.layer, REDUCING):
        inputs = [np.broadcast_to(x, shape)[()] for x in inputs]
    y, cache = node.layer.forward(*inputs)
    return node.layer.backward(np.ones_like(y)[()], cache)[0][edge.position]


def matrix_formula(expression: Expression, edge: Edge) -> str:
    """Return how the upstream gradient is multiplied to give this edge's gradient."""
    other = edge.node.inputs[1 - edge.position]
    name = expression.labels[other] if other in expression.graph.inputs else other
    return f"upstream · {name}ᵀ" if edge.position == 0 else f"{name}ᵀ · upstream"


def edge_key(edge: Edge) -> Key:
    """Return the key under which an edge's gradient is compared."""
    return Key(edge.node.name, f"gradient #{edge.position}")


def summed_names(formula: Expression) -> list[str]:
    """Return the inputs, and the gates whose value is used more than once."""
    shared = branches(edges(formula))
    return [*formula.graph.inputs, *(n.name for n in formula.graph.nodes if n.name in shared)]
