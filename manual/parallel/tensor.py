r"""One Linear cut into parts, one per worker: by its columns (units), or by its rows (inputs).

All workers see the same batch and find the same loss: values beside the two cut layers are one
value, held W times. y = x Wᵀ + b with the blocks of W (torch's layout: W is (O, I)) is

    columns: W = (W_0; …; W_(W-1)), O is cut     rows: W = (W_0 … W_(W-1)), I is cut
    y   = (x W_0ᵀ + b_0, …)                      y    = Σ_s h_s W_sᵀ + b
    dx  = Σ_s dy_s W_s                           dh_s = dy W_s
    dW_s = dy_sᵀ x,  db_s = Σ_n dy_s             dW_s = dyᵀ h_s,  db = Σ_n dy

A sum over s runs over workers, and is an all-reduce: forward behind a row split, backward before a
column split. The other direction needs none: what all have, all use. A column split, a function
element by element and a row split so cost one all-reduce each way, and no worker ever holds y.

b is added behind the sum, once: added to every share, it would count W times.

Torch: torch.distributed.tensor.parallel, ColwiseParallel and RowwiseParallel.
Source: Shoeybi et al., Megatron-LM (2019), section 3; f and g of figure 3 are the two all-reduces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from manual import activations
from manual.graph import Graph
from manual.layer import Array, Arrays, Layer
from manual.linear import Linear
from manual.nodes import Node
from manual.parallel.collectives import all_reduce
from manual.parallel.plan import Plan
from manual.parallel.workers import TOTAL, WeightedSum, name_of, target_of

__all__ = ["cut", "of_tensor_workers"]

PARTIAL = "@partial"  # a worker's share of a row split, before the sum


class ShareCache(NamedTuple):
    x: Array  # (N, I), or this worker's (N, I_r)
    weight: Array


class ColumnShare(Layer):
    """Worker r's units of a Linear; takes every worker's copy of x, which are one value."""

    def __init__(self, params: Arrays, rank: int) -> None:
        self.params, self.rank = params, rank

    def forward(self, *copies: Array) -> tuple[Array, tuple[ShareCache, int]]:
        """Return y_r = x W_rᵀ + b_r, (N, O_r)."""
        x, weight = copies[self.rank], self.params["weight"]
        y = x @ weight.T
        y = y + self.params["bias"] if "bias" in self.params else y
        return y, (ShareCache(x, weight), len(copies))

    def backward(
        self, grad_output: Array, cache: tuple[ShareCache, int]
    ) -> tuple[tuple[Array, ...], Arrays]:
        """Return worker r's share dy_r W_r in dx, to all: they add up there, over the workers."""
        (x, weight), copies = cache
        dy = _rows(grad_output)
        grads = {"weight": dy.T @ _rows(x), "bias": dy.sum(axis=0)}
        return self.shares(grad_output @ weight, copies), {k: grads[k] for k in self.params}

    def shares(self, share: Array, copies: int) -> tuple[Array, ...]:
        """Return to whom a share goes: the backward's all-reduce."""
        return (share,) * copies


class RowShare(Layer):
    """Worker r's inputs of a Linear: its share h_r W_rᵀ in y, (N, O)."""

    def __init__(self, params: Arrays) -> None:
        self.params = params

    def forward(self, x: Array) -> tuple[Array, ShareCache]:  # type: ignore[override]
        return x @ self.params["weight"].T, ShareCache(x, self.params["weight"])

    def backward(self, grad_output: Array, cache: ShareCache) -> tuple[tuple[Array], Arrays]:
        """Return dh_r = dy W_r and dW_r = dyᵀ h_r: every worker has dy."""
        return (grad_output @ cache.weight,), {"weight": _rows(grad_output).T @ _rows(cache.x)}


class RowSumCache(NamedTuple):
    workers: int


class RowSum(Layer):
    """The sum of all workers' shares, and the bias, as worker r has it."""

    def __init__(self, params: Arrays, rank: int) -> None:
        self.params, self.rank = params, rank

    def forward(self, *shares: Array) -> tuple[Array, RowSumCache]:
        """Return y = Σ_s y_s + b, (N, O): the forward's all-reduce."""
        y = self.summed(shares)
        y = y + self.params["bias"] if "bias" in self.params else y
        return y, RowSumCache(len(shares))

    def summed(self, shares: tuple[Array, ...]) -> Array:
        return all_reduce(shares)[self.rank]

    def backward(
        self, grad_output: Array, cache: RowSumCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        """Return dy_r = dy to the worker's own share.

        Every worker's dy is that of the same loss. The transposed all-reduce would add all W of
        them, and count that loss W times; its own is the loss counted once.
        """
        grads = tuple(grad_output if s == self.rank else None for s in range(cache.workers))
        own = {"bias": _rows(grad_output).sum(axis=0)} if "bias" in self.params else {}
        return grads, own


def cut(arrays: Mapping[str, Array], split: Mapping[str, str], worker: int, workers: int) -> Arrays:
    """Return a worker's part of the parameters: blocks of the layers that are split."""
    found = dict(arrays)
    for layer, how in split.items():
        axis = 0 if how == "columns" else 1
        found[f"{layer}.weight"] = np.split(arrays[f"{layer}.weight"], workers, axis)[worker]
        if how == "columns" and f"{layer}.bias" in arrays:
            found[f"{layer}.bias"] = np.split(arrays[f"{layer}.bias"], workers)[worker]
    return found


def of_tensor_workers(
    graph: Graph, loss: Layer, plan: Plan, column: type = ColumnShare, row: type = RowSum
) -> Graph:
    """Return the graph of all workers, who share the work of the layers that are split.

    Raises:
        ValueError: what is split is no Linear, or its size cannot be divided by the workers.
    """
    check_split(graph, plan)
    workers = range(plan.workers)
    nodes, inputs, losses = [], [], []
    for node in graph.nodes:
        for worker in workers:
            nodes += _parts(node, worker, plan, column, row)
    for worker in workers:
        inputs += [*(name_of(worker, name) for name in graph.inputs), target_of(worker)]
        losses.append(name_of(worker, "loss"))
        nodes.append(Node(losses[-1], loss, (name_of(worker, graph.output), inputs[-1])))
    nodes.append(Node(TOTAL, WeightedSum([1.0] * plan.workers), tuple(losses)))
    return Graph(nodes, tuple(inputs))


def _parts(node: Node, worker: int, plan: Plan, column: type, row: type) -> list[Node]:
    """Return what one worker does for one layer."""
    name, workers = name_of(worker, node.name), range(plan.workers)
    how = plan.split.get(node.name)
    sources = tuple(None if s is None else name_of(worker, s) for s in node.inputs)
    if how is None:
        return [Node(name, node.layer, sources)]
    whole = {f"{node.name}.{key}": p for key, p in node.layer.params.items()}
    own = cut(whole, {node.name: how}, worker, plan.workers)
    params = {key: own[f"{node.name}.{key}"] for key in node.layer.params}
    if how == "columns":
        copies = tuple(name_of(other, node.inputs[0]) for other in workers)
        return [Node(name, column(params, worker), copies)]
    bias = {key: p for key, p in params.items() if key == "bias"}
    shares = tuple(name_of(other, node.name) + PARTIAL for other in workers)
    share = Node(name + PARTIAL, RowShare({"weight": params["weight"]}), sources)
    return [share, Node(name, row(bias, worker), shares)]


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def check_split(graph: Graph, plan: Plan) -> None:
    """Raise ValueError unless Linears are split that can be, each pair with what lies between."""
    layers = {node.name: node.layer for node in graph.nodes}
    for name, how in plan.split.items():
        layer = layers.get(name)
        if type(layer) is not Linear:
            known = [n for n, other in layers.items() if type(other) is Linear]
            raise ValueError(
                f"split: '{name}' is no Linear. Those that are: {', '.join(known) or 'none'}."
            )
        size = layer.params["weight"].shape[0 if how == "columns" else 1]
        if size % plan.workers:
            raise ValueError(
                f"split: '{name}' has {size} {'units' if how == 'columns' else 'inputs'}, which "
                f"{plan.workers} workers cannot share equally."
            )
    for node in graph.nodes:
        _check_fed(node, {n.name: n for n in graph.nodes}, plan.split)
    if _in_parts(graph.output, {n.name: n for n in graph.nodes}, plan.split):
        raise ValueError(
            f"split: each worker has a part of the output '{graph.output}', of which the loss "
            "needs all. End with a Linear that is whole, or split by rows."
        )


def _check_fed(node: Node, nodes: Mapping[str, Node], split: Mapping[str, str]) -> None:
    """Raise ValueError if a layer gets a part of what it needs, or the whole instead of a part."""
    cut_off = [s for s in node.inputs if s is not None and _in_parts(s, nodes, split)]
    if split.get(node.name) == "rows":
        if not cut_off:
            raise ValueError(
                f"split: '{node.name}' is split by rows, and '{node.inputs[0]}' before it is "
                "whole. Split the Linear before it by columns."
            )
    elif cut_off:
        _check_between(node, cut_off[0])


def _check_between(node: Node, source: str) -> None:
    """Raise ValueError unless each element of the output depends on one of the input alone."""
    name = type(node.layer).__name__
    if name not in {*activations.__all__, "Identity"} - {"GLU", "PReLU", "RReLU"}:
        raise ValueError(
            f"split: '{node.name}' ({name}) needs all of '{source}', of which each worker has a "
            "part. Between a split by columns and one by rows may stand an activation of each "
            "element alone that neither learns nor draws, such as ReLU."
        )


def _in_parts(value: str, nodes: Mapping[str, Node], split: Mapping[str, str]) -> bool:
    """Return whether each worker has a part of a value's last axis."""
    if value not in nodes or split.get(value) == "rows":
        return False
    return split.get(value) == "columns" or any(
        _in_parts(s, nodes, split) for s in nodes[value].inputs if s is not None
    )
