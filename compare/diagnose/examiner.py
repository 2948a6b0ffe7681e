"""Runs single pieces of a step alone, on torch's own inputs: whose mistake is a disagreement?"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import gauge, gauging
from compare.judge.judge import gauged, judge
from compare.judge.quantities import LOSS, Key, Values
from compare.pair.sources import unplanted
from compare.running.experiment import Experiment
from compare.running.lockstep import Step
from compare.running.moment import Start
from manual.graph import Layer, Node


class Suspect(NamedTuple):
    """Whose formula was examined, and what was found."""

    layer: str
    quantity: str
    own: bool
    formula: Any  # the object whose source is shown
    method: str
    explanation: str


class Examiner:
    """Re-runs single pieces of a step on what torch's side recorded."""

    def __init__(self, experiment: Experiment, start: Start, step: Step) -> None:
        self.experiment, self.start, self.torch = experiment, start, step.torch
        self.manual_values = step.manual
        self.side = experiment.manual
        self.nodes = {node.name: node for node in self.side.graph.nodes}

    def suspect(self, key: Key) -> Suspect:
        """Examine whatever computes this quantity."""
        kind, _, _ = key.quantity.partition(":")
        if kind in ("param", "state"):
            return self._optimizer(key)
        if kind in ("grad_output", "grad_input"):
            return self._consumers(key)
        if key == LOSS:
            return self._loss(key, "loss", "forward")
        return self._layer(self.nodes[key.layer], key.quantity, key)

    def _layer(self, node: Node, quantity: str, key: Key) -> Suspect:
        own = not self._alone_agrees(node, quantity)
        method = _method(node.layer, quantity)
        if not own and quantity.startswith("grad:"):
            name = f"{node.name}.{quantity.removeprefix('grad:')}"
            if penalty := self._wrong_penalty("grad_input", name):
                text = (
                    f"The layer's own gradient agrees; the {type(penalty).__name__} added to it "
                    "does not."
                )
                return Suspect(key.layer, key.quantity, True, penalty, "backward", text)
        return Suspect(node.name, quantity, own, node.layer, method, _told(node, quantity, own))

    def _consumers(self, key: Key) -> Suspect:
        """Examine the layers whose backward produced this gradient."""
        graph = self.side.graph
        name = key.layer
        if name == graph.output:
            return self._loss(key, "grad_input", "backward")
        consumers = [node for node in graph.nodes if name in node.inputs]
        for node in consumers:
            if not self._alone_agrees(node, "grad_input"):
                return self._layer(node, "grad_input", key)
        node = self.nodes.get(name, consumers[0])
        text = (
            f"Every layer fed by '{name}' has a correct backward, given torch's inputs and "
            "upstream gradient: "
            + (
                "what is wrong is how their gradients are added at the branch."
                if len(consumers) > 1
                else "what is wrong came from further up."
            )
        )
        own = len(consumers) > 1
        return Suspect(name, key.quantity, own, node.layer, "backward", text)

    def _loss(self, key: Key, quantity: str, method: str) -> Suspect:
        output = self.torch[Key(self.side.graph.output, "output")]
        loss, grad = self.experiment.torch.loss_alone(output, self.start.target)
        theirs = {Key("", "loss"): loss, Key("", "grad_input"): grad}
        own = not self._agree(
            lambda lift: _loss_alone(self.side.loss, lift(output), self.start.target),
            theirs, quantity,
        )  # fmt: skip
        node = Node("loss", self.side.loss, ())
        text = _told(node, quantity, own)
        if not own and quantity == "loss" and (penalty := self._wrong_penalty(quantity)):
            text = f"The data loss agrees; the {type(penalty).__name__} added to it does not."
            return Suspect("loss", quantity, True, penalty, method, text)
        return Suspect("loss", quantity, own, self.side.loss, method, text)

    def _wrong_penalty(self, quantity: str, of: str | None = None) -> Layer | None:
        """Return the first penalty that differs from torch's, on the step's own parameters.

        Args:
            quantity: `loss` for its value, `grad_input` for its gradient.
            of: the parameter; every one by default.
        """
        alone = self.experiment.torch.penalties_alone(self.start.params)
        for (penalty, names), theirs in zip(self.side.penalties, alone, strict=True):
            for name in names:
                value, grad = theirs[name]
                expected = {Key("", "loss"): value, Key("", "grad_input"): grad}
                run = partial(_penalty_alone, penalty, self.start.params[name])
                if of in (None, name) and not self._agree(run, expected, quantity):
                    return penalty
        return None

    def _optimizer(self, key: Key) -> Suspect:
        """Give the hand-written optimiser torch's gradients; does the update still disagree?"""
        start, grads = self.start, {}
        for layer, quantity in self.torch:
            if quantity.startswith("grad:"):
                grads[f"{layer}.{quantity[5:]}"] = self.torch[Key(layer, quantity)]

        def update(lift: Any) -> Values:
            states = {
                name: {k: lift(v) if np.ndim(v) else v for k, v in entry.items()}
                for name, entry in start.states.items()
            }
            params, new = self.side.update(
                {k: lift(p) for k, p in start.params.items()},
                {k: lift(g) for k, g in grads.items()},
                states,
                start.lr,
            )
            name, _, state = key.quantity.partition(":")[2].partition(":")
            dotted = f"{key.layer}.{name}"
            found = new.get(dotted, {}) if state else params
            name = state or dotted
            return {Key("", key.quantity): found[name]} if name in found else {}

        theirs = {Key("", key.quantity): self.torch[key]} if key in self.torch else {}
        own = not theirs or not self._agree(update, theirs, key.quantity)
        optimizer = unplanted(self.side.optimizer)
        text = (
            f"{type(optimizer).__name__}, given torch's gradients, still differs: the update rule "
            "is wrong."
            if own
            else f"{type(optimizer).__name__} is right, given torch's gradients: it used a "
            "gradient that was wrong before."
        )
        return Suspect(key.layer, key.quantity, own, optimizer, "update", text)

    def _alone_agrees(self, node: Node, quantity: str) -> bool:
        """Run one layer on torch's inputs and upstream gradient, on both sides."""
        inputs = [self._recorded(name) for name in node.inputs]
        upstream = self.torch.get(Key(node.name, "grad_output"))
        if upstream is None:
            shape = self.torch[Key(node.name, "output")].shape
            upstream = np.random.default_rng(0).standard_normal(shape).astype(inputs[0].dtype)
        names = node.layer.params
        params = {key: self.start.params[f"{node.name}.{key}"] for key in names}
        y, grads, own = self.experiment.torch.alone(node.name, inputs, params, upstream)
        theirs = _keyed(y, grads, own)
        noise = self.start.noise.get(node.name)

        def run(lift: Any) -> Values:
            layer = node.layer
            if node.name in self.start.winners:
                layer = layer.settled(self.start.winners[node.name])  # type: ignore[attr-defined]
            layer = layer.with_params({k: lift(p) for k, p in params.items()})
            return _layer_alone(layer, [lift(x) for x in inputs], lift(upstream), noise)

        return self._agree(run, theirs, quantity)

    def _agree(self, run: Any, theirs: Values, quantity: str) -> bool:
        """Run a piece plainly and on gauge arrays; compare what it says of this quantity."""
        try:
            mine = run(lambda a: a)
            with gauging(self.experiment.dtype):
                gauges = run(gauge)
        except Exception:  # a wrong shape, most often
            return False
        tolerances = gauged(gauges, self.experiment.dtype, self.experiment.config.compare.k)
        keys = [k for k in theirs if k.quantity.partition("#")[0] == quantity]
        picked = {k: np.asarray(mine[k]) for k in keys if k in mine}
        rows = judge(keys, picked, {k: theirs[k] for k in keys}, tolerances)
        return not rows.bad.size

    def _recorded(self, name: str) -> np.ndarray:
        return self.start.x if name == "input" else self.torch[Key(name, "output")]


def _method(layer: Layer, quantity: str) -> str:
    """Return the method that computes a quantity; parameter gradients may have one of their own."""
    if quantity.startswith("grad:") and "grad_params" in vars(type(unplanted(layer))):
        return "grad_params"
    return "forward" if quantity == "output" else "backward"


def _layer_alone(layer: Layer, inputs: list, upstream: Any, noise: Any) -> Values:
    y, cache = layer.forward(*inputs, **({"noise": noise} if layer.stochastic else {}))
    grads, own = layer.backward(upstream, cache)
    return _keyed(y, grads, own)


def _keyed(y: Any, grads: Any, own: Any) -> Values:
    values = {Key("", "output"): y}
    values |= {Key("", f"grad_input#{i}"): grad for i, grad in enumerate(grads)}
    return values | {Key("", f"grad:{name}"): grad for name, grad in own.items()}


def _loss_alone(loss: Layer, output: Any, target: Any) -> Values:
    value, cache = loss.forward(output, target)
    (grad, *_), _ = loss.backward(np.ones_like(value), cache)
    return {Key("", "loss"): value, Key("", "grad_input"): grad}


def _penalty_alone(penalty: Layer, parameter: np.ndarray, lift: Any) -> Values:
    value, cache = penalty.forward(lift(parameter))
    (grad,), _ = penalty.backward(np.ones_like(value), cache)
    return {Key("", "loss"): value, Key("", "grad_input"): grad}


def _told(node: Node, quantity: str, own: bool) -> str:
    name = f"'{node.name}' ({node.layer!r})"
    if quantity in ("output", "loss"):
        what = "the value that it computes"
    else:
        what = f"the {quantity.replace(':', ' of ')} that its backward computes"
    if own:
        return f"Given torch's own inputs, {what} in layer {name} is still wrong: its own mistake."
    return f"Given torch's own inputs, layer {name} is right: it passed on what it received."
