"""Whole training steps: the harness's two sides of one network, from the same weights.

Branches, a value used twice, dropout with shared masks, parts that lead to no parameter,
penalties, clipping, an update; with and without gradients down to the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import GRAD_INPUT, LOSS, Key, Values, split
from evidence.mutation.battery.base import Check, Lift, exact, frozen, lifted
from evidence.mutation.battery.layers import build

LR = 0.25


class Node(NamedTuple):
    """One node, as both sides are built from it."""

    name: str
    type: str
    inputs: tuple[str, ...]
    args: Mapping[str, Any] = {}


class Network(NamedTuple):
    """A network with everything of a training step; the input has 3 columns."""

    nodes: tuple[Node, ...]
    loss: str = "MSELoss"
    optimizer: tuple[str, Mapping[str, Any]] = ("SGD", {"lr": LR})
    penalties: tuple[tuple[str, float, tuple[str, ...]], ...] = ()
    clip: tuple[float | None, float | None] = (None, None)
    training: bool = True


def linear(name: str, source: str, inputs: int, outputs: int, **args: Any) -> Node:
    return Node(name, "Linear", (source,), {"in_features": inputs, "out_features": outputs, **args})


DROPOUT = (
    Node("drop", "Dropout", ("input",), {"p": 0.25}),
    linear("fc", "drop", 3, 8),
    Node("again", "Dropout", ("fc",)),
    linear("out", "again", 8, 2),
)
NETWORKS: dict[str, Network] = {
    "branches in any order": Network(
        (
            Node("sum", "Add", ("left", "gate")),
            linear("left", "input", 3, 4),
            linear("right", "input", 3, 4, bias=False),
            Node("act", "Tanh", ("right",)),
            Node("gate", "Multiply", ("left", "act")),
            Node("join", "Concatenate", ("sum", "act", "left")),
            linear("block.out", "join", 12, 2),
        ),
        optimizer=("SGD", {"lr": LR, "momentum": 0.5}),
        penalties=(("L2Penalty", 0.125, ("left.weight", "block.out.bias")),),
        clip=(0.75, None),
    ),
    "the input used twice": Network(
        (
            Node("act", "Sigmoid", ("input",)),
            linear("a", "act", 3, 3),
            Node("residual", "Add", ("a", "input", "act")),
            Node("square", "Multiply", ("residual", "residual")),
            linear("b", "square", 3, 4),
        ),
        loss="CrossEntropyLoss",
        optimizer=("Adam", {"lr": LR}),
        penalties=(("L1Penalty", 0.0625, ("b.weight",)), ("L2Penalty", 0.25, ("b.weight",))),
        clip=(None, 0.05),
    ),
    "dropout": Network(DROPOUT, optimizer=("RMSprop", {"lr": LR})),
    "dropout in evaluation": Network(DROPOUT, training=False),
}


@dataclass(frozen=True)
class NetworkCheck(Check):
    """One training step of a network."""

    network: str
    input_grad: bool

    @property
    def name(self) -> str:
        return f"a step of the network: {self.network}{', to the input' * self.input_grad}"

    @property
    def description(self) -> Network:
        return NETWORKS[self.network]

    def data(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        labels = self.description.loss == "CrossEntropyLoss"
        rng = self.rng(seed, "target")
        target = rng.integers(0, 4, 5) if labels else exact(rng.normal(size=(5, 2)))
        return self.draw(seed, (5, 3), "x"), target

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        described = self.description
        graph = import_module("manual").Graph(
            (n.name, build(n.type, tuple(n.args.items())), n.inputs) for n in described.nodes
        )
        side = import_module("compare.pair.manual_side").ManualSide(
            graph,
            build(described.loss, ()),
            [(build(t, (("coefficient", c),)), names) for t, c, names in described.penalties],
            build(described.optimizer[0], tuple(described.optimizer[1].items())),
            *described.clip,
        )
        sizes = {name: p.shape for name, p in graph.params.items()}
        params = {name: lift(self.draw(seed, s, name)) for name, s in sizes.items()}
        x, target = self.data(seed)
        return side.step(
            params, {}, LR, lift(x), lifted(lambda a: frozen(a, dtype), target),
            noise=_torch(self, dtype, seed)[1], input_grad=self.input_grad,
        )  # fmt: skip

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return _torch(self, dtype, seed)[0]


@cache
def _torch(check: NetworkCheck, dtype: np.dtype, seed: int) -> tuple[Values, dict[str, np.ndarray]]:
    """Return torch's values, and the dropout masks that it drew."""
    import torch

    from torch_ref.side import TorchSide

    described = check.description
    side = TorchSide(
        described.nodes, (described.loss, {}), described.penalties, described.optimizer,
        described.clip, dtype.name, training=described.training,
    )  # fmt: skip
    side.load({name: check.draw(seed, p.shape, name) for name, p in side.params().items()})
    x, target = map(side.tensor, check.data(seed))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loss = side.forward_backward(x, target, input_grad=check.input_grad)
    found = side.outputs(), side.grad_outputs(), {k: g.copy() for k, g in side.grads().items()}
    side.update(LR)
    state = {
        name: {k: int(v) if k == "step" else v for k, v in entry.items()}
        for name, entry in side.state().items()
    }
    values = _keyed(*found, side.params(), state) | {LOSS: np.asarray(loss, dtype=dtype)}
    return {key: np.array(v) for key, v in values.items()}, side.noise()


def _keyed(outputs: Any, grad_outputs: Any, grads: Any, params: Any, states: Any) -> Values:
    """Put torch's arrays under the keys of a step."""
    values = {Key(name, "output"): y for name, y in outputs.items()}
    for name, grad in grad_outputs.items():
        values[GRAD_INPUT if name == "input" else Key(name, "grad_output")] = grad
    for kind, arrays in (("grad", grads), ("param", params)):
        for dotted, array in arrays.items():
            layer, own = split(dotted)
            values[Key(layer, f"{kind}:{own}")] = array
    for dotted, state in states.items():
        layer, own = split(dotted)
        values |= {Key(layer, f"state:{own}:{key}"): array for key, array in state.items()}
    return values


@cache
def network_checks() -> list[Check]:
    """Return every network, with and without gradients down to its input."""
    return [NetworkCheck(name, flag) for name in NETWORKS for flag in (False, True)]
