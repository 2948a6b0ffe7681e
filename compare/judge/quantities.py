"""What is compared in one step: the list of (layer, quantity) in execution order.

The list follows from the network description alone, never from what a side happens to return, so
that a tensor which both sides forgot is still expected and reported as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

Values = dict["Key", Any]


class Key(NamedTuple):
    """A tensor's place: the node's name, and what of it is compared."""

    layer: str
    quantity: str


LOSS = Key("loss", "loss")
GRAD_INPUT = Key("input", "grad_input")


def split(dotted: str) -> tuple[str, str]:
    """Split a parameter's dotted name into its node's name and its own."""
    layer, _, parameter = dotted.rpartition(".")
    return layer, parameter


def expected(
    nodes: Sequence[Any], parameters: Iterable[str], states: Iterable[Key], *, input_grad: bool
) -> list[Key]:
    """Return every key of a step in execution order: forward, loss, backward, update.

    Args:
        nodes: the description's nodes in topological order (`name`, `inputs`).
        parameters: dotted names.
        states: the optimiser's state keys.
        input_grad: whether gradients run down to the network's input.
    """
    owned: dict[str, list[str]] = {}
    for dotted in parameters:
        owned.setdefault(split(dotted)[0], []).append(split(dotted)[1])
    differentiable = {"input"} if input_grad else set()
    for node in nodes:
        if node.name in owned or not differentiable.isdisjoint(node.inputs):
            differentiable.add(node.name)
    keys = [Key(node.name, "output") for node in nodes] + [LOSS]
    for node in reversed(nodes):
        if node.name in differentiable:
            keys.append(Key(node.name, "grad_output"))
        keys += [Key(node.name, f"grad:{p}") for p in owned.get(node.name, ())]
    keys += [GRAD_INPUT] if input_grad else []
    keys += [Key(layer, f"param:{p}") for layer, names in owned.items() for p in names]
    position = {key: i for i, key in enumerate(keys)}
    return keys + sorted(states, key=lambda state: (position[_parameter_of(state)], state))


def _parameter_of(state: Key) -> Key:
    """Return the updated parameter that a piece of optimiser state belongs to."""
    return Key(state.layer, f"param:{state.quantity.split(':')[1]}")


def of_forward(outputs: Mapping[str, Any]) -> Values:
    """Put every node's output under its key."""
    return {_of_node(name, "output"): y for name, y in outputs.items()}


def of_backward(grad_outputs: Mapping[str, Any], grads: Mapping[str, Any]) -> Values:
    """Put the gradients of values (the network's input under `input`) and parameters."""
    values = {_of_node(name, "grad_output"): grad for name, grad in grad_outputs.items()}
    return values | {_of_parameter(dotted, "grad"): grad for dotted, grad in grads.items()}


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
) -> Values:
    """Put all that one side found in one step under its keys."""
    forward, backward = of_forward(outputs), of_backward(grad_outputs, grads)
    return forward | {LOSS: loss} | backward | of_update(params, state)


@cache
def _of_node(name: str, quantity: str) -> Key:
    return GRAD_INPUT if name == "input" else Key(name, quantity)


@cache
def _of_parameter(dotted: str, kind: str, rest: str = "") -> Key:
    layer, parameter = split(dotted)
    return Key(layer, f"{kind}:{parameter}{rest}")
