"""What is compared in one step: the list of (layer, quantity) in execution order.

The list follows from the network description alone, never from what a side happens to return, so
that a tensor which both sides forgot is still expected and reported as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from manual.nodes import path_of, ports_of

Values = dict["Key", Any]


class Key(NamedTuple):
    """A tensor's place: the node's name, and what of it is compared."""

    layer: str
    quantity: str


REDUCED = "reduced"  # a gradient that several workers have agreed on
LOSS = Key("loss", "loss")
GRAD_INPUT = Key("input", "grad_input")
EVALUATION, OTHER_UPSTREAM = "evaluation", "other upstream"  # what training steps never ask
SCHEDULE = Key("schedule", "lr")


def asked_once(layer: str, quantity: str) -> bool:
    """Return whether this is no part of a training step: it is compared once, aside from them."""
    return (layer, quantity) == SCHEDULE or quantity.startswith((EVALUATION, OTHER_UPSTREAM))


def split(dotted: str) -> tuple[str, str]:
    """Split a parameter's dotted name into its node's name and its own."""
    layer, _, parameter = dotted.rpartition(".")
    return layer, parameter


def expected(
    nodes: Sequence[Any], parameters: Iterable[str], states: Iterable[Key], *,
    inputs: Iterable[str] = (), buffers: Iterable[str] = (),
) -> list[Key]:  # fmt: skip
    """Return every key of a step in execution order: forward, loss, backward, update.

    Args:
        nodes: the graph's nodes in topological order.
        parameters: dotted names; a tied one is under its owner's name only.
        states: the optimiser's state keys.
        inputs: those of the network's inputs that gradients run down to.
        buffers: dotted names.
    """
    owned: dict[str, list[str]] = {}
    parameters = tuple(parameters)
    for name in parameters:
        owned.setdefault(split(name)[0], []).append(split(name)[1])
    differentiable = {*inputs, *parameters}
    first_calls: dict[str, str] = {}  # by module: in backward order its gradients end there
    for node in nodes:
        first_calls.setdefault(path_of(node.name), node.name)
        if path_of(node.name) in owned or not differentiable.isdisjoint(node.inputs):
            differentiable.update(ports_of(node))
    used = used_values(nodes)
    keys = [_of_node(port, "output") for node in nodes for port in ports_of(node)] + [LOSS]
    for node in reversed(nodes):
        ports = [p for p in ports_of(node) if p in used and p in differentiable]
        keys += [_of_node(port, "grad_output") for port in ports]
        path = path_of(node.name)
        if first_calls[path] == node.name:
            keys += [Key(path, f"grad:{p}") for p in owned.get(path, ())]
    free = (split(name) for name in parameters if split(name)[0] not in first_calls)
    keys += [Key(path, f"grad:{p}") for path, p in free]  # no node has them: they are only read
    keys += [Key(name, "grad_input") for name in inputs if name in used]
    keys += [_of_parameter(name, "buffer") for name in buffers]
    keys += [Key(layer, f"param:{p}") for layer, names in owned.items() for p in names]
    position = {key: i for i, key in enumerate(keys)}
    return keys + sorted(states, key=lambda state: (position[_parameter_of(state)], state))


def _parameter_of(state: Key) -> Key:
    """Return the updated parameter that a piece of optimiser state belongs to."""
    return Key(state.layer, f"param:{state.quantity.split(':')[1]}")


def used_values(nodes: Sequence[Any]) -> set[str]:
    """Return the values that something takes: gradients arrive at no others."""
    return {source for node in nodes for source in node.inputs} | {nodes[-1].name}


def real(array: Any) -> bool:
    """Return whether a value is made of real numbers, which have gradients, and not of indices."""
    return getattr(getattr(array, "dtype", None), "kind", "f") not in "biu"


def of_buffers(buffers: Mapping[str, Any]) -> Values:
    """Put the buffers after the pass."""
    return {_of_parameter(name, "buffer"): array for name, array in buffers.items()}


def of_forward(outputs: Mapping[str, Any]) -> Values:
    """Put every node's output under its key."""
    return {_of_node(name, "output"): y for name, y in outputs.items()}


def of_backward(
    grad_outputs: Mapping[str, Any], grads: Mapping[str, Any], inputs: Iterable[str] = ("input",)
) -> Values:
    """Put the gradients of values (among them the network's `inputs`) and parameters."""
    ends = {name: Key(name, "grad_input") for name in inputs}
    values = {
        ends.get(name) or _of_node(name, "grad_output"): g for name, g in grad_outputs.items()
    }
    return values | {_of_parameter(dotted, "grad"): grad for dotted, grad in grads.items()}


def of_exchange(grads: Mapping[str, Any]) -> Values:
    """Put the parameters' gradients after several workers have exchanged them."""
    return {_of_parameter(dotted, REDUCED): grad for dotted, grad in grads.items()}


def of_update(params: Mapping[str, Any], state: Mapping[str, Mapping[str, Any]]) -> Values:
    """Put the updated parameters and the optimiser's state."""
    values = {_of_parameter(dotted, "param"): param for dotted, param in params.items()}
    for dotted, entries in state.items():
        for name, tensor in entries.items():
            values[_of_parameter(dotted, "state", f":{name}")] = tensor
    return values


def collected(
    outputs: Mapping[str, Any],
    loss: Any,
    grad_outputs: Mapping[str, Any],
    grads: Mapping[str, Any],
    params: Mapping[str, Any],
    state: Mapping[str, Mapping[str, Any]],
    buffers: Mapping[str, Any],
    inputs: Iterable[str] = ("input",),
) -> Values:
    """Put all that one side found in one step under its keys."""
    forward, backward = of_forward(outputs), of_backward(grad_outputs, grads, inputs)
    return forward | {LOSS: loss} | backward | of_buffers(buffers) | of_update(params, state)


@cache
def _of_node(name: str, quantity: str) -> Key:
    node, _, port = name.partition(":")
    return Key(node, f"{quantity}:{port}" if port else quantity)


@cache
def _of_parameter(dotted: str, kind: str, rest: str = "") -> Key:
    layer, parameter = split(dotted)
    return Key(layer, f"{kind}:{parameter}{rest}")
