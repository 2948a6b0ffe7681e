"""Networks that are hand-written in some nodes and torch in the rest: `--torch-layers`.

A torch node computes with torch's own module under autograd, and with nothing of the hand-written
layer. Only the error gauge, whose arrays torch cannot take, runs the hand-written layer there, and
only as far as its values are torch's: else errors are measured on torch
(`compare.pair.hybrid_gauge`), so that a mistake in a replaced layer cannot reach the tolerances
either.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.errors import UserError, nearest
from compare.gauge import Gauge
from compare.pair.hybrid_gauge import GaugeCache, gauged_backward, gauged_forward
from manual import registry
from manual.graph import Array, Arrays, Graph, Layer, Node
from manual.nodes import path_of, ports_of

if TYPE_CHECKING:
    from torch import Tensor, nn

ALL = "all"


def chosen(names: Iterable[str], graph: Graph, *, where: str) -> tuple[str, ...]:
    """Return the nodes that are to be torch, in the graph's order; `all` means all that can be.

    Raises:
        UserError: the network has no such node, or torch cannot stand in its place.
    """
    known = [node.name for node in graph.nodes]
    names = [name.strip() for name in names]
    kept = {node.name: why for node in graph.nodes if (why := _kept(node))}
    if ALL in names and ALL not in known:
        return tuple(name for name in known if name not in kept)
    for name in names:
        if name not in known:
            raise UserError(
                f"{where}: the network has no layer '{name}' for torch to compute. "
                f"{nearest(name, known, what='Layers')} Or all of them: {ALL}."
            )
        if name in kept:
            raise UserError(
                f"{where}: torch cannot compute layer '{name}' in the hand-written one's place, "
                f"because it {kept[name]}."
            )
    return tuple(name for name in known if name in names)


def _kept(node: Node) -> str:
    """Return why a node stays hand-written, or nothing."""
    if len(node.layer.outputs) > 1:
        return "has several outputs"
    if None in node.inputs:
        return "leaves some of its inputs out"
    return "has no gradient" if type(node.layer).__name__ in registry.MASKS else ""


def hybrid(graph: Graph, modules: Mapping[str, nn.Module], device: Any = None) -> Graph:
    """Return the graph with torch modules at the named nodes, copied so that nothing is shared."""
    layers = {node.name: node.layer for node in graph.nodes}
    return graph.with_layers(
        {name: TorchNode(layers[name], copy.deepcopy(m), device) for name, m in modules.items()}
    )


def torch_on_both_sides(graph: Graph, names: Sequence[str]) -> set[tuple[str, str]]:
    """Return the (layer, quantity) that a run compares torch with torch in.

    A torch node computes its output, its parameters' gradients, and the gradients of its inputs
    as far as they feed no hand-written node.
    """
    fed: dict[str, set[str]] = {}
    rows = set()
    for node in graph.nodes:
        for source in node.inputs:
            fed.setdefault(source, set()).add(node.name)
        if node.name in names:
            rows |= {_row(port, "output") for port in ports_of(node)}
            rows |= {(path_of(node.name), f"grad:{key}") for key in node.layer.params}
    for source, consumers in fed.items():
        if consumers <= set(names):
            rows.add(_row(source, "grad_input" if source in graph.inputs else "grad_output"))
            if source in graph.params:
                rows.add((source.rpartition(".")[0], f"grad:{source.rpartition('.')[2]}"))
    return rows


def _row(value: str, quantity: str) -> tuple[str, str]:
    node, _, port = value.partition(":")
    return node, f"{quantity}:{port}" if port else quantity


class TorchCache(NamedTuple):
    """Torch's graph of one forward pass: its leaves, by input and parameter, and its output."""

    inputs: tuple[Tensor, ...]
    params: dict[str, Tensor]
    output: Tensor


class TorchNode(Layer):
    """A node whose output and gradients are torch's: its module runs, autograd differentiates.

    Args:
        twin: the hand-written layer that it stands for; its parameters are the node's.
        module: torch's module; its own parameters are not used.
        device: where torch computes.
    """

    def __init__(self, twin: Layer, module: nn.Module, device: Any = None) -> None:
        self.twin, self.module, self.device = twin, module, device
        self.params = twin.params
        self.stochastic = twin.stochastic

    def forward(self, *inputs: Array, noise: Array | None = None) -> tuple[Array, Any]:
        if any(isinstance(a, Gauge) for a in (*inputs, *self.params.values())):
            return gauged_forward(self, inputs, noise)
        return self.run(inputs, self.params, noise)

    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        """Ask autograd: torch.autograd.grad of the module's output under the upstream gradient."""
        if isinstance(cache, GaugeCache):
            return gauged_backward(self, grad_output, cache)
        return self.autograd(cache, grad_output)

    def run(
        self, inputs: Sequence[Array], params: Arrays, noise: Array | None = None
    ) -> tuple[Array, TorchCache]:
        """Run the module on copies of the arrays; without noise a random one evaluates."""
        import torch
        from torch.func import functional_call

        leaves = tuple(self._tensor(x).requires_grad_() for x in inputs)
        own = {key: self._tensor(p).requires_grad_() for key, p in params.items()}
        with torch.enable_grad():
            if not self.stochastic:
                y = functional_call(self.module, own, leaves)
            elif noise is None:
                y = leaves[0] * 1
            else:  # the mask that both sides share; the module itself would draw another
                mask = self._tensor(noise).to(leaves[0].dtype)
                y = leaves[0] * (mask / (1 - self.module.p or 1))  # type: ignore[operator]
        return _array(y), TorchCache(leaves, own, y)

    def autograd(
        self, cache: TorchCache, grad_output: Array
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Return the gradients of all inputs and parameters."""
        import torch

        leaves = [*cache.inputs, *cache.params.values()]
        upstream = self._tensor(grad_output)
        grads = torch.autograd.grad(cache.output, leaves, upstream, retain_graph=True)
        arrays = [_array(grad) for grad in grads]
        count = len(cache.inputs)
        return tuple(arrays[:count]), dict(zip(cache.params, arrays[count:], strict=True))

    def decisions(self, cache: Any) -> Array | None:
        """Return the hand-written layer's on the same inputs, if they are written."""
        with suppress(Exception):
            if type(self.twin).decisions is not Layer.decisions:
                return self.twin.decisions(self.twin.forward(*map(_array, cache.inputs))[1])
        return None

    def settled(self, decisions: Array | None) -> Layer:
        """Return this node: torch decides for itself, given torch's inputs at a tie."""
        return self

    def with_params(self, params: Arrays) -> TorchNode:
        return TorchNode(self.twin.with_params(params), self.module, self.device)

    def __repr__(self) -> str:
        stock = type(self.module).__module__.startswith("torch.nn")
        return f"{'torch.nn' if stock else 'torch_ref'}.{self.module!r}"

    def _tensor(self, array: Array) -> Tensor:
        import torch

        return torch.tensor(array, device=self.device)  # a copy


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy())
