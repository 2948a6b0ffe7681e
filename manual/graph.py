"""The graph: named nodes, forward in topological order onto a tape, backward in reverse.

Layers are pure (`manual.layer`): so one can run twice, be unrolled over time, and run in any number
system whose arrays answer NumPy's ufuncs and functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from manual.layer import Array, Arrays, Layer

if TYPE_CHECKING:
    from manual.expression import Expression

Intercept = Callable[["Node", tuple[Array, ...]], tuple[Array, ...]]


class Node(NamedTuple):
    """A layer's place in a graph: its name, and the names of the nodes that feed it."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]


class Tape(NamedTuple):
    """What one forward pass leaves: every node's value, and the cache its backward needs."""

    values: Arrays
    caches: dict[str, Any]
    output: Array


class Gradients(NamedTuple):
    """What one backward pass leaves: d loss / d value of every node, d loss / d every parameter."""

    values: Arrays
    params: Arrays


class Graph:
    """A network of named nodes with one output.

    Args:
        nodes: `Node`s (or plain tuples) in any order; names are torch's dotted paths.
        inputs: names of the network's inputs, which nodes refer to.

    Raises:
        ValueError: a name is used twice, an input is unknown, nodes form a cycle, or a node leads
            nowhere (its output would never be compared).
    """

    def __init__(self, nodes: Iterable[Node | tuple], inputs: tuple[str, ...] = ("input",)) -> None:
        self.inputs = inputs
        self.nodes = _topological([Node(*node) for node in nodes], inputs)
        self.output = self.nodes[-1].name
        trainable = self._reached_from({n.name for n in self.nodes if n.layer.params})
        everything = self._reached_from(set(inputs) | trainable)
        self._plans = {False: self._plan(trainable), True: self._plan(everything)}

    @property
    def params(self) -> Arrays:
        """Every parameter under its dotted name, as torch's `state_dict` keys it."""
        return {f"{n.name}.{key}": p for n in self.nodes for key, p in n.layer.params.items()}

    @property
    def stacks(self) -> tuple[str, ...]:
        """The parameters that hold several maps, by dotted name (`Layer.stacks`)."""
        return tuple(f"{n.name}.{key}" for n in self.nodes for key in n.layer.stacks)

    def with_params(self, params: Mapping[str, Array]) -> Graph:
        """Return the same network with other parameters (of any number system)."""
        twin = copy.copy(self)
        twin.nodes = tuple(
            Node(name, layer.with_params({k: params[f"{name}.{k}"] for k in layer.params}), inputs)
            if layer.params
            else Node(name, layer, inputs)
            for name, layer, inputs in self.nodes
        )
        return twin

    def with_layers(self, layers: Mapping[str, Layer]) -> Graph:
        """Return the same network with other layers at the named nodes."""
        twin = copy.copy(self)
        twin.nodes = tuple(n._replace(layer=layers.get(n.name, n.layer)) for n in self.nodes)
        return twin

    def forward(
        self,
        inputs: Array | Mapping[str, Array],
        *,
        noise: Mapping[str, Array] | np.random.Generator | None = None,
        intercept: Intercept | None = None,
    ) -> Tape:
        """Visit the nodes in topological order.

        Args:
            inputs: the network's input, or one array per input name.
            noise: for random layers (dropout) a mask per node name, or a generator to draw from;
                without it they act as in evaluation.
            intercept: called as `intercept(node, inputs)` before each node; returns its inputs.
        """
        values = dict(inputs) if isinstance(inputs, Mapping) else {self.inputs[0]: inputs}
        caches: dict[str, Any] = {}
        for node in self.nodes:
            arguments = tuple(values[name] for name in node.inputs)
            if intercept is not None:
                arguments = intercept(node, arguments)
            if node.layer.stochastic:
                arguments += (_noise_of(node, arguments, noise),)
            try:
                values[node.name], caches[node.name] = node.layer.forward(*arguments)
            except Exception as error:
                raise located(error, node.name, node.layer, "forward") from None
        return Tape(values, caches, values[self.output])

    def backward(self, tape: Tape, grad_output: Array, *, input_grad: bool = False) -> Gradients:
        """Visit the nodes in reverse; gradients add where a value feeds several nodes.

        Only what leads to a parameter is computed, so the first layer's input gradient is skipped;
        with `input_grad` everything is, down to the network's inputs.
        """
        grads: Arrays = {self.output: grad_output}
        params: Arrays = {}
        for index, wanted in self._plans[input_grad]:
            name, layer, inputs = self.nodes[index]
            upstream, cache = grads[name], tape.caches[name]
            try:
                if any(wanted):
                    grad_inputs, own = layer.backward(upstream, cache)
                    for source, grad, want in zip(inputs, grad_inputs, wanted, strict=True):
                        if want:
                            grads[source] = grads[source] + grad if source in grads else grad
                else:
                    own = layer.grad_params(upstream, cache)
            except Exception as error:
                raise located(error, name, layer, "backward") from None
            for key, grad in own.items():
                params[f"{name}.{key}"] = grad
        return Gradients(grads, params)

    def _plan(self, needed: frozenset[str]) -> list[tuple[int, tuple[bool, ...]]]:
        """Return, in backward order, each needed node and which of its inputs need gradients."""
        return [
            (index, tuple(source in needed for source in node.inputs))
            for index, node in reversed(list(enumerate(self.nodes)))
            if node.name in needed
        ]

    def _reached_from(self, sources: set[str]) -> frozenset[str]:
        reached = set(sources)
        for node in self.nodes:
            if not reached.isdisjoint(node.inputs):
                reached.add(node.name)
        return frozenset(reached)

    def __repr__(self) -> str:
        rows = (f"  ({n.name}): {n.layer!r} <- {', '.join(n.inputs)}" for n in self.nodes)
        return "\n".join([f"{type(self).__name__}(", *rows, ")"])


class Sequential(Graph):
    """The simple case: each layer feeds the next; nodes are named 0, 1, 2, … as in torch.nn."""

    def __init__(self, *layers: Layer) -> None:
        names = [str(i) for i in range(len(layers))]
        super().__init__(zip(names, layers, [("input",), *((n,) for n in names)], strict=False))


def expression(formula: Any, /, **values: Any) -> Expression:
    """Return the graph of a formula at a point: `expression("(x + y) * z", x=-2, y=5, z=-4)`."""
    from manual.expression import expression as evaluated

    return evaluated(formula, **values)


def located(error: Exception, name: str, layer: Layer, method: str) -> Exception:
    """Return the error with the place it came from: a note, and `place` = (name, method)."""
    if not hasattr(error, "place"):
        error.add_note(f"in layer '{name}' ({layer!r}), {method}")
        error.place = (name, method)  # type: ignore[attr-defined]
    return error


def _noise_of(node: Node, arguments: tuple, noise: Any) -> Array | None:
    if isinstance(noise, np.random.Generator):
        return node.layer.draw(arguments[0].shape, noise)  # type: ignore[attr-defined]
    return None if noise is None else noise.get(node.name)


def _topological(nodes: list[Node], inputs: tuple[str, ...]) -> tuple[Node, ...]:
    if not nodes:
        raise ValueError("A graph needs at least one node; received none.")
    by_name = {node.name: node for node in nodes}
    taken = [node.name for node in nodes] + list(inputs)
    for name in taken:
        if taken.count(name) > 1:
            raise ValueError(f"The name '{name}' is used twice; every node and input needs one.")
    for node in nodes:
        for source in node.inputs:
            if source not in by_name and source not in inputs:
                raise ValueError(
                    f"Node '{node.name}' takes its input from '{source}', which is neither a node "
                    f"nor an input. Names: {', '.join(taken)}."
                )
    try:
        order = TopologicalSorter({n.name: n.inputs for n in nodes}).static_order()
        ordered = tuple(by_name[name] for name in order if name in by_name)
    except CycleError as error:
        raise ValueError(f"The nodes form a cycle: {' -> '.join(error.args[1])}.") from None
    _one_sink(ordered)
    return ordered


def _one_sink(nodes: tuple[Node, ...]) -> None:
    used = {source for node in nodes for source in node.inputs}
    for node in nodes[:-1]:
        if node.name not in used:
            raise ValueError(
                f"Node '{node.name}' leads nowhere: no node takes it as input, and the network's "
                f"output is '{nodes[-1].name}'. Remove it, or join it in (Add, Concatenate)."
            )
