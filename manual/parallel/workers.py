"""One graph of all workers: each has the network, a copy of the parameters, and a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from manual.graph import Graph
from manual.layer import Array, Arrays, Layer
from manual.linear import NoCache
from manual.nodes import Node
from manual.norm import SyncBatchNorm
from manual.parallel.batch_norm import WorkerBatchNorm
from manual.parallel.plan import Plan

__all__ = ["name_of", "of_workers", "owned", "target_of"]

TOTAL = "workers"  # the node that ends the graph


class WeightedSum(Layer):
    """Σ_i w_i x_i of numbers: what all workers together differentiate.

    Every worker starts its backward pass from its own loss, w_r L_r, as if it were alone: what it
    finds is ∂/∂θ_r of the sum of all losses, θ_r its copy of the parameters, since no other loss
    depends on that copy, or does so through an exchange, whose backward brings that share back.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = tuple(weights)

    def forward(self, *inputs: Array) -> tuple[Array, NoCache]:
        first, *rest = [x * w for x, w in zip(inputs, self.weights, strict=True)]
        return sum(rest, first), NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array, ...], Arrays]:
        """dx_i = w_i dy."""
        return tuple(grad_output * w for w in self.weights), {}

    def extra_repr(self) -> str:
        return ", ".join(f"{w:g}" for w in self.weights)


def name_of(worker: int, name: str, micro: int | None = None) -> str:
    """Return what a node, value or input is called on a worker, in one of its micro-batches."""
    if micro is None:
        return f"worker{worker}.{name}"
    node, colon, port = name.partition(":")
    return f"worker{worker}.{node}@{micro}{colon}{port}"


def target_of(worker: int, micro: int | None = None) -> str:
    """Return the name of the input that holds a worker's targets."""
    return name_of(worker, "target", micro)


def owned(values: Mapping[str, Array], worker: int) -> Arrays:
    """Return what belongs to a worker, under the names that it has among all workers'."""
    prefix = name_of(worker, "")
    return {name: value for name, value in values.items() if name.startswith(prefix)}


def of_workers(
    graph: Graph, loss: Layer, plan: Plan, *, synchronised: bool = True, factor: float = 1.0
) -> Graph:
    """Return the graph of one step of all workers; it ends in the sum of their weighed losses.

    Its inputs are those of the network and the targets, of every worker and micro-batch. Calls of
    one worker's network share its parameters, so the gradients of its micro-batches add up, and
    its buffers move from one micro-batch to the next.

    Args:
        synchronised: whether the SyncBatchNorm layers know of each other.
        factor: what all losses are multiplied by besides.
    """
    nodes: list[Node] = []
    inputs, losses = [], []
    weights = np.array(plan.weights()) * factor
    for micro in range(plan.micro_batches):
        call = micro if plan.micro_batches > 1 else None
        names = [_Names(graph, worker, call) for worker in range(plan.workers)]
        for node in graph.nodes:
            for worker, named in enumerate(names):
                sources = tuple(named.value(source) for source in node.inputs)
                layer = node.layer
                if synchronised and isinstance(layer, SyncBatchNorm) and layer.training:
                    layer = WorkerBatchNorm.of(layer, worker)
                    sources = tuple(other.value(node.inputs[0]) for other in names)
                nodes.append(Node(named.value(node.name) or "", layer, sources))
        for worker, named in enumerate(names):
            inputs += [name_of(worker, name, call) for name in graph.inputs]
            inputs.append(target_of(worker, call))
            losses.append(name_of(worker, "loss", call))
            nodes.append(Node(losses[-1], loss, (named.value(graph.output), inputs[-1])))
    nodes.append(Node(TOTAL, WeightedSum(weights.T.ravel().tolist()), tuple(losses)))
    prefixes = [name_of(worker, "") for worker in range(plan.workers)]
    tied = {p + name: p + other for p in prefixes for name, other in graph.tied.items()}
    free = {p + name: array for p in prefixes for name, array in graph.free.items()}
    return Graph(nodes, tuple(inputs), tied=tied, parameters=free)


class _Names(NamedTuple):
    """What one worker's values are called in one of its micro-batches."""

    graph: Graph
    worker: int
    micro: int | None

    def value(self, name: str | None) -> str | None:
        """Return a value's name; a parameter is the same in every micro-batch."""
        if name is None:
            return None
        return name_of(self.worker, name, None if name in self.graph.params else self.micro)
