"""Who computes a quantity, and from what: one piece per layer whose work adds up to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from compare.explaining.bound import Bound
from compare.explaining.equations import Equation, equation, with_gradient
from compare.explaining.layers import Given, bind_layer
from compare.explaining.losses import bind_loss, bind_penalty
from compare.explaining.updates import Update, bind_update, gradient_variant
from compare.judge.quantities import LOSS, Key, Values
from compare.pair.hybrid import TorchNode
from compare.pair.sources import unplanted
from compare.running.experiment import Experiment
from compare.running.moment import Start
from manual.graph import Node


class UnexplainedError(Exception):
    """A quantity that cannot be worked, and why."""


class Scene(NamedTuple):
    """One step that was run: what it started from, and what the hand-written side made of it."""

    experiment: Experiment
    start: Start
    number: int
    manual: Values
    torch: Values
    tolerances: Any
    flips: dict[str, int]

    def value(self, name: str) -> np.ndarray:
        """Return what a node put out on the hand-written side; the data for `input`."""
        return self.start.x if name == "input" else self.need(Key(name, "output"))

    def need(self, key: Key) -> np.ndarray:
        if key not in self.manual:
            raise UnexplainedError(f"the hand-written side left no {key.quantity} of '{key.layer}'")
        return self.manual[key]


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


def pieces_of(scene: Scene, key: Key) -> list[Piece]:
    """Return the pieces whose values add up to a quantity.

    Raises:
        UnexplainedError: something that it takes was never computed, or a class has no formula.
    """
    kind, _, rest = key.quantity.partition(":")
    try:
        if key == LOSS:
            return [_loss(scene, "loss"), *_penalties(scene, None)]
        if kind == "buffer" or (kind in ("output", "grad_output") and rest):
            raise KeyError(key.quantity)
        if kind == "output":
            return [_layer(scene, _node(scene, key.layer), "output")]
        if kind in ("grad_output", "grad_input"):
            return _consumers(scene, key.layer)
        if kind == "grad":
            own = _layer(scene, _node(scene, key.layer), key.quantity)
            return [own, *_penalties(scene, f"{key.layer}.{rest}")]
        return [_update(scene, key)]
    except KeyError as error:
        raise UnexplainedError(f"there is no formula for {error}") from error


def _node(scene: Scene, name: str) -> Node:
    for node in scene.experiment.manual.graph.nodes:
        if node.name == name and len(node.layer.outputs) == 1:
            return node
    raise KeyError(name)  # a module called several times, or a node of several outputs


def _layer(scene: Scene, node: Node, role: str, position: int = 0) -> Piece:
    start, layer = scene.start, unplanted(node.layer)
    by_torch = isinstance(layer, TorchNode)
    layer = unplanted(layer.twin) if isinstance(layer, TorchNode) else layer
    owner = type(layer).__name__
    given = Given(
        layer,
        tuple(scene.value(name) for name in node.inputs),
        None if role == "output" else scene.need(Key(node.name, "grad_output")),
        {k: start.params[f"{node.name}.{k}"] for k in layer.params},
        role,
        position,
        start.noise.get(node.name),
        start.winners.get(node.name) if scene.flips.get(node.name) else None,
    )
    given = given._replace(layer=layer.with_params(given.params)) if layer.params else given
    bound = bind_layer(given)
    method = "forward" if role == "output" else "backward"
    if role.startswith("grad:") and "grad_params" in vars(type(layer)):
        method = "grad_params"
    formula = equation(owner, role, bound.variant)
    noise = {"noise": given.mask} if given.layer.stochastic else {}
    again = _again(given.layer, given.inputs, given.upstream, method, **noise)
    return Piece(layer, node.name, role, method, formula, bound, again, by_torch)


def _again(
    layer: Any, inputs: Sequence, upstream: Any, method: str, **noise: Any
) -> Callable[[], Any]:
    """Return what runs one method of a layer again; its forward beforehand is not looked at."""
    if method == "forward":
        return lambda: layer.forward(*inputs, **noise)
    try:
        cache = layer.forward(*inputs, **noise)[1]
    except Exception:  # then it has no backward either, and is reported where it raised
        return lambda: None
    return lambda: getattr(layer, method)(upstream, cache)


def _loss(scene: Scene, role: str) -> Piece:
    side = scene.experiment.manual
    loss = unplanted(side.loss)
    bound = bind_loss(loss, role, scene.value(side.graph.output), scene.start.target)
    method = "forward" if role == "loss" else "backward"
    formula = equation(type(loss).__name__, role, bound.variant)
    inputs = (scene.value(side.graph.output), scene.start.target)
    again = _again(loss, inputs, np.ones((), inputs[0].dtype), method)
    return Piece(loss, "loss", role, method, formula, bound, again)


def _penalties(scene: Scene, parameter: str | None) -> list[Piece]:
    """Return what the penalties add to the loss, or to one parameter's gradient."""
    role, method = ("value", "forward") if parameter is None else ("grad", "backward")
    return [
        Piece(penalty, f"{name}'s penalty", role, method, equation(type(penalty).__name__, role),
              bind_penalty(penalty, scene.start.params[name]),
              _again(penalty, (scene.start.params[name],), 1.0, method))
        for penalty, names in scene.experiment.manual.penalties
        for name in names
        if parameter in (None, name)
    ]  # fmt: skip


def _consumers(scene: Scene, name: str) -> list[Piece]:
    """Return what each layer that reads a value hands back to it; the loss reads the output."""
    graph = scene.experiment.manual.graph
    if name == graph.output:
        return [_loss(scene, "grad_input")]
    return [
        _layer(scene, node, "grad_input", position)
        for node in graph.nodes
        for position, source in enumerate(node.inputs)
        if source == name
    ]


def _update(scene: Scene, key: Key) -> Piece:
    side, start = scene.experiment.manual, scene.start
    _, parameter, *state = key.quantity.split(":")
    name = f"{key.layer}.{parameter}"
    optimizer = unplanted(side.optimizer)
    needed = [name] if side.clip_norm is None else start.params
    grads = {n: scene.need(Key(*_split(n))) for n in needed}
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
    bound = bind_update(update)
    formula = equation(type(optimizer).__name__, update.role, bound.variant)
    formula = with_gradient(formula, gradient_variant(update))

    def again() -> Any:
        return optimizer.update(update.param, grads[name], dict(update.state), update.lr)

    return Piece(optimizer, "optimizer", update.role, "update", formula, bound, again)


def _split(dotted: str) -> tuple[str, str]:
    layer, _, parameter = dotted.rpartition(".")
    return layer, f"grad:{parameter}"
