"""Who computes a quantity, and from what: one piece per layer whose work adds up to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.explaining.bound import Bound, Pass, Update, role_of
from compare.explaining.equations import Equation, equation
from compare.judge.quantities import LOSS, Key
from compare.pair.hybrid import TorchNode
from compare.pair.sources import unplanted
from compare.running.alone import Moment
from manual.graph import Node


class UnexplainedError(Exception):
    """A quantity that cannot be worked, and why."""


def computed(moment: Moment, name: str) -> np.ndarray:
    """Return what a node put out on the hand-written side; the data for an input."""
    if name in moment.start.inputs:
        return moment.start.inputs[name]
    node, _, port = name.partition(":")
    return needed(moment, Key(node, f"output:{port}" if port else "output"))


def needed(moment: Moment, key: Key) -> np.ndarray:
    """Return what the hand-written side computed.

    Raises:
        UnexplainedError: it is not there.
    """
    if key not in moment.manual:
        raise UnexplainedError(f"the hand-written side left no {key.quantity} of '{key.layer}'")
    return moment.manual[key]


@dataclass(frozen=True)
class Piece:
    """One formula with its numbers: what it adds to the quantity, and whose it is."""

    owner: Any  # a layer, a loss, a penalty or an optimiser
    place: str  # the node's name, or loss, penalty, optimizer
    role: str
    method: str
    equation: Equation
    bound: Bound
    rerun: Callable[[], Any]  # what computes it, again
    by_torch: bool = False  # torch computed it in the hand-written layer's place


def pieces_of(moment: Moment, key: Key) -> list[Piece]:
    """Return the pieces whose values add up to a quantity.

    Raises:
        UnexplainedError: something that it takes was never computed, or a class has no formula.
    """
    kind, _, rest = key.quantity.partition(":")
    try:
        if key == LOSS:
            return [_loss(moment, "output"), *_penalties(moment, None)]
        if kind == "buffer" or (kind in ("output", "grad_output") and rest):
            raise KeyError(key.quantity)
        if kind == "output":
            return [_layer(moment, _node(moment, key.layer), "output")]
        if kind in ("grad_output", "grad_input"):
            return _consumers(moment, key.layer)
        if kind == "grad":
            own = _layer(moment, _node(moment, key.layer), key.quantity)
            return [own, *_penalties(moment, f"{key.layer}.{rest}")]
        return [_update(moment, key)]
    except KeyError as error:
        raise UnexplainedError(f"there is no formula for {error}") from error


def _node(moment: Moment, name: str) -> Node:
    for node in moment.experiment.manual.graph.nodes:
        if node.name == name and len(node.layer.outputs) == 1:
            return node
    raise KeyError(name)  # a module called several times, or a node of several outputs


def _layer(moment: Moment, node: Node, role: str, position: int = 0) -> Piece:
    start, layer = moment.start, unplanted(node.layer)
    by_torch = isinstance(layer, TorchNode)
    layer = unplanted(layer.twin) if isinstance(layer, TorchNode) else layer
    params = {k: start.params[f"{node.name}.{k}"] for k in layer.params}
    layer = layer.with_params(params) if params else layer
    if moment.flips.get(node.name) and node.name in start.winners:
        layer = layer.settled(start.winners[node.name])
    inputs: Any = tuple(None if name is None else computed(moment, name) for name in node.inputs)
    upstream = None if role == "output" else needed(moment, Key(node.name, "grad_output"))
    if role == "grad_input":
        role = role_of(layer, position, len(inputs))
    given = Pass(layer, role, inputs, upstream, position, start.noise.get(node.name))
    return _piece(given, node.name, by_torch=by_torch)


def _piece(given: Pass, place: str, *, by_torch: bool = False) -> Piece:
    layer, role = given.layer, given.role
    method = "forward" if role == "output" else "backward"
    if role.startswith("grad:") and "grad_params" in vars(type(layer)):
        method = "grad_params"
    formula = equation(layer, role, given.holds)
    return Piece(layer, place, role, method, formula, given.bound(formula), _again(given, method),
                 by_torch)  # fmt: skip


def _again(given: Pass, method: str) -> Callable[[], Any]:
    """Return what runs one method of a layer again; its forward beforehand is not looked at."""
    if method == "forward":
        return given.forward
    try:
        cache = given.cache
    except Exception:  # then it has no backward either, and is reported where it raised
        return lambda: None
    return lambda: getattr(given.layer, method)(given.upstream, cache)


def _loss(moment: Moment, role: str) -> Piece:
    side = moment.experiment.manual
    output = np.asarray(computed(moment, side.graph.output))
    inputs = output, np.asarray(moment.start.target)
    return _piece(Pass(unplanted(side.loss), role, inputs, np.ones((), output.dtype)), "loss")


def _penalties(moment: Moment, parameter: str | None) -> list[Piece]:
    """Return what the penalties add to the loss, or to one parameter's gradient."""
    role = "output" if parameter is None else "grad_input"
    return [
        _piece(Pass(penalty, role, (moment.start.params[name],), 1.0), f"{name}'s penalty")
        for penalty, names in moment.experiment.manual.penalties
        for name in names
        if parameter in (None, name)
    ]


def _consumers(moment: Moment, name: str) -> list[Piece]:
    """Return what each layer that reads a value hands back to it; the loss reads the output."""
    graph = moment.experiment.manual.graph
    if name == graph.output:
        return [_loss(moment, "grad_input")]
    return [
        _layer(moment, node, "grad_input", position)
        for node in graph.nodes
        for position, source in enumerate(node.inputs)
        if source == name
    ]


def _update(moment: Moment, key: Key) -> Piece:
    side, start = moment.experiment.manual, moment.start
    _, parameter, *state = key.quantity.split(":")
    name = f"{key.layer}.{parameter}"
    optimizer = unplanted(side.optimizer.rule_for(name))
    names = [name] if side.clip_norm is None else start.params
    grads = {n: needed(moment, Key(*_split(n))) for n in names}
    update = Update(
        optimizer,
        f"state:{state[0]}" if state else "param",
        name,
        start.params[name],
        grads,
        start.states.get(name, {}),
        start.lr,
        side.clip_norm,
        side.clip_value,
    )
    formula = update.with_gradient(equation(optimizer, update.role, update.holds))

    def again() -> Any:
        return optimizer.update(update.param, grads[name], dict(update.state), update.lr)

    return Piece(
        optimizer, "optimizer", update.role, "update", formula, update.bound(formula), again
    )


def _split(dotted: str) -> tuple[str, str]:
    layer, _, parameter = dotted.rpartition(".")
    return layer, f"grad:{parameter}"
