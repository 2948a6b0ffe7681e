"""Somebody's hand-written graph in the place of a module: its values meet torch's by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from torch import nn

from compare.errors import UserError, nearest
from manual.graph import Graph, Node
from manual.layer import Layer
from manual.nodes import dotted, path_of, ports_of
from torch_ref.capture import Capture
from torch_ref.captured import Passed

__all__ = ["Ported", "bound", "ported"]

Place = tuple[str, int]  # a module's path, or a function's name in it, and which of the calls


class Ported(NamedTuple):
    """A port's nodes as they stand in the mirror.

    Attributes:
        nodes: with the names, parameters and inputs that they have in the whole model.
        tied: parameters that are another one.
        results: torch's name of each output, and the port's.
        alone: the port's values that torch has no counterpart of.
        left: torch's values of this module that the port has no counterpart of.
        missing: torch's parameters of which that is so.
    """

    nodes: list[Node]
    tied: dict[str, str]
    results: dict[str, str]
    alone: frozenset[str]
    left: frozenset[str]
    missing: frozenset[str]


def ported(graph: Graph, passed: Passed, capture: Capture) -> Ported:
    """Return a graph's nodes for one pass through the module that it stands for.

    A node meets the call of torch's that has its name, call by call: a module's path, or that of a
    module that was opened; the graph's outputs meet the module's. What torch calls otherwise gets
    the port's name in the capture as well.

    Raises:
        UserError: inputs, parameters or buffers do not fit the module.
    """
    given = _given(graph, passed)

    def outer(name: str | None) -> str | None:
        if name is None or name in given:
            return None if name is None else given[name]
        return dotted(passed.path, name) if name in graph.params else named(name)

    def named(inner: str) -> str:
        full = dotted(passed.path, inner)
        if not passed.number:
            return full
        node, colon, port = full.partition(":")
        return f"{node}@{passed.number}{colon}{port}"

    nodes = [
        Node(named(name), bound(layer, dotted(passed.path, name), capture.module),
             tuple(outer(source) for source in sources))
        for name, layer, sources in graph.nodes
    ]  # fmt: skip
    results = {
        theirs: str(outer(ours)) for theirs, ours in zip(passed.outputs, graph.results, strict=True)
    }
    values, inside = _theirs(passed, capture)
    met = {own: theirs for theirs, own in results.items()}
    for place, ports in _numbered((node.name, ports_of(node)) for node in nodes):
        met |= dict(zip(ports, values.get(place, ()), strict=False))
    for own, theirs in met.items():
        if own != theirs:
            capture.also(own, theirs)
    ours = {port for node in nodes for port in ports_of(node)}
    tied = {dotted(passed.path, a): dotted(passed.path, b) for a, b in graph.tied.items()}
    held = {dotted(passed.path, name) for name in graph.state_names()}
    inner = capture.module.get_submodule(passed.path).named_parameters(passed.path)
    missing = {name for name, _ in inner} - held
    return Ported(
        nodes,
        tied,
        results,
        frozenset(ours - met.keys()),
        frozenset(inside - set(met.values())),
        frozenset(missing),
    )


def _given(graph: Graph, passed: Passed) -> dict[str | None, str]:
    """Return what the graph's inputs are called in the mirror."""
    where = f"twin['{passed.path}']" if passed.path else "twin"
    if len(passed.inputs) != len(graph.inputs):
        raise UserError(
            f"{where}: the graph takes {len(graph.inputs)} inputs ({', '.join(graph.inputs)}), and "
            f"the module was called with {len(passed.inputs)} tensors "
            f"({', '.join(passed.inputs)})."
        )
    if len(passed.outputs) != len(graph.results):
        raise UserError(
            f"{where}: the graph has {len(graph.results)} outputs ({', '.join(graph.outputs)}), "
            f"and the module returned {len(passed.outputs)} tensors."
        )
    return dict(zip(graph.inputs, passed.inputs, strict=True))


def _theirs(passed: Passed, capture: Capture) -> tuple[dict[Place, tuple[str, ...]], set[str]]:
    """Return the names of torch's outputs by place, and those of its calls."""
    calls = [(call.name, call.outputs) for call in capture.calls[passed.first : passed.last]]
    found = dict(_numbered(passed.inner.items()))  # of opened modules: what came out of them
    found |= dict(_numbered(calls))
    return found, {name for _, outputs in calls for name in outputs}


def _numbered(
    named: Iterable[tuple[str, tuple[str, ...]]],
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Yield places for names, in order: a path, and which of its calls."""
    counts: Counter[str] = Counter()
    for name, outputs in named:
        path = path_of(name)
        yield (path, counts[path]), outputs
        counts[path] += 1


def bound(layer: Layer, node: str, module: nn.Module) -> Layer:
    """Return a layer with the module's own parameters and buffers, in the module's mode."""
    params = dict(module.named_parameters(remove_duplicate=False))
    buffers = dict(module.named_buffers(remove_duplicate=False))
    own = layer.with_params(
        {k: _same(p, dotted(node, k), params, "parameter") for k, p in layer.params.items()}
    )
    if layer.buffers:
        own = own.with_buffers(
            {k: _same(b, dotted(node, k), buffers, "buffer") for k, b in layer.buffers.items()}
        )
    modules = dict(module.named_modules())
    path = path_of(node)
    return own.train(modules[path].training if path in modules else module.training)


def _same(ours: np.ndarray, name: str, theirs: Mapping[str, object], kind: str) -> np.ndarray:
    if name not in theirs:
        raise UserError(
            f"twin: the port's {kind} '{name}' is none of the model's. "
            f"{nearest(name, list(theirs))} Nodes have the names of the model's modules."
        )
    found: np.ndarray = theirs[name].detach().numpy()  # type: ignore[attr-defined]
    if found.shape != np.shape(ours):
        raise UserError(
            f"twin: the port's {kind} '{name}' has shape {np.shape(ours)}, the model's "
            f"{found.shape}. Layouts are those of torch.nn: Linear.weight is (out, in)."
        )
    return found
