"""Plant a mistake in the hand-written side on purpose, to see what a disagreement looks like.

The corruption happens where the named quantity is computed, so it spreads from there as a real
mistake would: `2.weight.grad*=1.01`, `1.output+=0.1`, `1.grad_input*=-1`, `0.bias.grad=0`,
`loss.grad_input*=2`, `2.weight*=1.001` (the updated parameter). It belongs to the hand-written
layer: where torch computes the layer (`--torch-layers`), the mistake is gone with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from compare.errors import UserError, nearest
from compare.pair.manual_side import ManualSide
from compare.pair.wrapped import Wrapped
from manual.graph import Array, Arrays, Graph, Layer
from manual.optimizers import Optimizer

OPERATIONS = {
    "*=": lambda a, c: a * c,
    "/=": lambda a, c: a / c,
    "+=": lambda a, c: a + c,
    "-=": lambda a, c: a - c,
    "=": lambda a, c: a * 0.0 + c,
}
NEUTRAL = {"*=": 1.0, "/=": 1.0, "+=": 0.0, "-=": 0.0}  # what changes nothing
PATTERN = re.compile(
    r"^\s*(?P<target>[^*/+\-=\s][^*/+=\s]*?)\s*(?P<op>[*/+\-]?=)\s*(?P<value>\S+)\s*$"
)
HINT = (
    "Write TARGET OP NUMBER with OP one of *= /= += -= =, and TARGET one of LAYER.output, "
    "LAYER.grad_input, LAYER.PARAMETER.grad, LAYER.PARAMETER, loss.output, loss.grad_input: "
    'for example --plant "2.weight.grad*=1.01".'
)


@dataclass(frozen=True)
class Plant:
    """One planted mistake: which node's which quantity is changed, and how."""

    text: str
    layer: str
    quantity: str  # output, grad_input, grad:<param>, param:<param>
    operation: str
    value: float

    def change(self, array: Array) -> Array:
        return OPERATIONS[self.operation](array, self.value)

    def runs_beside(self, torch_layers: Collection[str]) -> bool:
        """Return False if its layer is one that torch replaces; an update is never replaced."""
        return self.layer not in torch_layers or self.quantity.startswith("param:")


def parse(text: str, graph: Graph) -> Plant:
    """Read a planted mistake and check that the network has its target."""
    match = PATTERN.match(text)
    if match is None:
        raise UserError(f"Cannot read the planted mistake '{text}'. {HINT}")
    try:
        value = float(match["value"])
    except ValueError:
        raise UserError(f"'{match['value']}' in '{text}' is not a number. {HINT}") from None
    targets = _targets(graph)
    if match["target"] not in targets:
        raise UserError(
            f"The network has no '{match['target']}' to plant a mistake in. "
            f"{nearest(match['target'], targets, what='It has')}"
        )
    if value == NEUTRAL.get(match["op"]):
        raise UserError(f"'{text.strip()}' changes nothing: there is no mistake to find. {HINT}")
    layer, quantity = targets[match["target"]]
    return Plant(text.strip(), layer, quantity, match["op"], value)


def _targets(graph: Graph) -> dict[str, tuple[str, str]]:
    targets = {}
    for node in graph.nodes:
        for parameter in node.layer.params:
            targets[f"{node.name}.{parameter}.grad"] = (node.name, f"grad:{parameter}")
            targets[f"{node.name}.{parameter}"] = (node.name, f"param:{parameter}")
    for name in [*(node.name for node in graph.nodes), "loss"]:
        targets[f"{name}.output"] = (name, "output")
        targets[f"{name}.grad_input"] = (name, "grad_input")
    return targets


def plant(side: ManualSide, mistake: Plant) -> ManualSide:
    """Return the hand-written side with the mistake in it."""
    if mistake.layer == "loss":
        return side._replace(loss=Planted(side.loss, mistake))
    if mistake.quantity.startswith("param:"):
        return side._replace(optimizer=PlantedOptimizer(side.optimizer, mistake))
    layers = {
        n.name: Planted(n.layer, mistake) for n in side.graph.nodes if n.name == mistake.layer
    }
    return side._replace(graph=side.graph.with_layers(layers))


class Planted(Wrapped):
    """A layer with one of its results changed."""

    def __init__(self, layer: Layer, mistake: Plant) -> None:
        super().__init__(layer)
        self.mistake = mistake

    def forward(self, *inputs: Array, **noise: Any) -> tuple[Array, Any]:
        output, cache = self.layer.forward(*inputs, **noise)
        return (self.mistake.change(output), cache) if self._hits("output") else (output, cache)

    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        grads, _ = self.layer.backward(grad_output, cache)
        if self._hits("grad_input"):
            grads = tuple(None if g is None else self.mistake.change(g) for g in grads)
        return grads, self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: Any) -> Arrays:
        grads = self.layer.grad_params(grad_output, cache)
        return {
            key: self.mistake.change(grad) if self._hits(f"grad:{key}") else grad
            for key, grad in grads.items()
        }

    def _hits(self, quantity: str) -> bool:
        return self.mistake.quantity == quantity


class PlantedOptimizer(Optimizer):
    """An optimiser with one updated parameter changed."""

    def __init__(self, optimizer: Optimizer, mistake: Plant) -> None:
        self.optimizer, self.mistake = optimizer, mistake
        self.lr = optimizer.lr

    def rule_for(self, name: str) -> Optimizer:
        return self.optimizer.rule_for(name)

    def update(self, param: Array, grad: Array, state: dict, lr: float) -> tuple[Array, dict]:
        return self.optimizer.update(param, grad, state, lr)

    def step(self, params: Any, grads: Any, states: Any, lr: float | None = None) -> Any:
        params, states = self.optimizer.step(params, grads, states, lr)
        name = f"{self.mistake.layer}.{self.mistake.quantity.removeprefix('param:')}"
        return {**params, name: self.mistake.change(params[name])}, states
