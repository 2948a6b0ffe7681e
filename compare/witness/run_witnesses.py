"""Puts the gradient in which a run first disagrees before the witnesses (`compare.witness`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from compare.running.experiment import Experiment
from compare.running.moment import Start
from compare.witness.lockstep import Hearing, Pair, hear
from manual.graph import Layer, Node

INPUT = "input {}"


def hearing(
    experiment: Experiment, start: Start, torch: Values, layer: str, quantity: str
) -> Hearing | None:
    """Return whom the witnesses side with; None if they cannot decide about this quantity.

    Args:
        experiment, start: the run, and what the step started from.
        torch: what torch's side found in the step.
        layer, quantity: whose mistake is in question, and in what: of a layer or the loss.
    """
    nodes = {node.name: node for node in experiment.manual.graph.nodes}
    if layer in nodes and quantity.startswith("grad:"):
        pair, names = _layer(experiment, start, torch, nodes[layer]), [quantity[5:]]
    elif layer in nodes and quantity == "grad_input":
        count = len(nodes[layer].inputs)
        pair = _layer(experiment, start, torch, nodes[layer])
        names = [INPUT.format(i) for i in range(count)]
    elif (layer, quantity) == ("loss", "grad_input"):
        pair, names = _loss(experiment, start, torch), None
    else:
        return None
    try:
        return hear(pair, str(experiment.dtype), names)
    except Exception:  # a mistake may fail in any way; it must not hide the disagreement
        return None


def _layer(experiment: Experiment, start: Start, torch: Values, node: Node) -> Pair:
    inputs = {INPUT.format(i): _output(start, torch, name) for i, name in enumerate(node.inputs)}
    params = {key: start.params[f"{node.name}.{key}"] for key in node.layer.params}
    layer: Any = node.layer
    if node.name in start.winners:
        layer = layer.settled(start.winners[node.name])
    noise = {"noise": start.noise.get(node.name)} if layer.stochastic else {}

    def forward(*arrays: Any) -> tuple[Any, Any]:
        xs, ps = arrays[: len(inputs)], dict(zip(params, arrays[len(inputs) :], strict=True))
        lifted = layer.with_params(ps) if ps else layer
        output, cache = lifted.forward(*xs, **noise)
        return output, (lifted, cache, xs, ps)

    def manual(dout: Any, cache: tuple[Layer, Any, Any, Any]) -> Mapping[str, Any]:
        grads, own = cache[0].backward(dout, cache[1])
        return dict(zip(inputs, grads, strict=True)) | own

    def theirs(dout: Any, cache: tuple[Layer, Any, Any, Any]) -> Mapping[str, Any]:
        _, grads, own = experiment.torch.alone(node.name, cache[2], cache[3], dout)
        return dict(zip(inputs, grads, strict=True)) | own

    return Pair(forward, manual, theirs, inputs | params)


def _loss(experiment: Experiment, start: Start, torch: Values) -> Pair:
    loss, name = experiment.manual.loss, INPUT.format(0)

    def forward(output: Any) -> tuple[Any, Any]:
        value, cache = loss.forward(output, start.target)
        return value, (output, cache)

    def manual(dout: Any, cache: tuple[Any, Any]) -> Mapping[str, Any]:
        (grad, *_), _ = loss.backward(dout, cache[1])
        return {name: grad}

    def theirs(dout: Any, cache: tuple[Any, Any]) -> Mapping[str, Any]:
        return {name: dout * experiment.torch.loss_alone(cache[0], start.target)[1]}

    output = torch[Key(experiment.manual.graph.output, "output")]
    return Pair(forward, manual, theirs, {name: output})


def _output(start: Start, torch: Values, name: str) -> np.ndarray:
    return start.x if name == "input" else torch[Key(name, "output")]
