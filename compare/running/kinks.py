"""Settles kinks: where rounding decides which piece an element takes, torch's decision is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.gauge import Gauge
from compare.judge.judge import DISAGREE, Rows
from compare.judge.quantities import Key, Values, real
from compare.pair.hybrid import TorchNode
from compare.pair.manual_side import ManualSide
from compare.pair.sources import unplanted
from compare.running.moment import Start
from manual.graph import Array, Node
from manual.layer import Layer


def settled(side: ManualSide, start: Start) -> ManualSide:
    """Return the side with torch's winners where rounding inside a layer decides (Maxout)."""
    nodes = {node.name: node.layer for node in side.graph.nodes}
    layers = {
        name: nodes[name].settled(winner)  # type: ignore[attr-defined]
        for name, winner in start.winners.items()
    }
    return side._replace(graph=side.graph.with_layers(layers)) if layers else side


class Referee:
    """Gives a layer torch's input where the two inputs make it take different pieces.

    What it changes is judged all the same: the output of the node before, which this input is, is
    compared as the hand-written side computed it without a referee.

    Args:
        start, torch: what the step started from, and what torch's side found.
        flips: filled with the number of elements that took another piece, by layer.
    """

    def __init__(self, start: Start, torch: Values, flips: dict[str, int]) -> None:
        self.start, self.torch, self.flips = start, torch, flips

    def __call__(self, node: Node, arguments: tuple[Array, ...]) -> tuple[Array, ...]:
        if type(unplanted(node.layer)).decisions is Layer.decisions:
            return arguments
        winner = self.start.winners.get(node.name)
        layer: Any = node.layer if winner is None else node.layer.settled(None)  # type: ignore[attr-defined]
        ours = tuple(a.v if isinstance(a, Gauge) else a for a in arguments)
        mine = self._decisions(layer, node, ours)
        if mine is None:
            return arguments
        theirs = self.torch_inputs(node)
        other = self._decisions(layer, node, theirs) if winner is None else winner
        if other is None or mine.shape != other.shape:  # no rounding: there is nothing to settle
            return arguments
        flips = int(np.count_nonzero(mine != other))
        if flips:
            self.flips[node.name] = flips
        if not flips or (winner is not None and not isinstance(node.layer, TorchNode)):
            return arguments
        pairs = zip(arguments, theirs, strict=True)
        return tuple(
            Gauge(t.astype(np.float64), a.e2) if isinstance(a, Gauge) else t for a, t in pairs
        )

    def _decisions(self, layer: Layer, node: Node, inputs: tuple[Array, ...]) -> Array | None:
        """Run the layer forward to see which pieces it takes."""
        plain = {k: p.v if isinstance(p, Gauge) else p for k, p in layer.params.items()}
        layer = layer.with_params(plain) if plain else layer
        return layer.decisions(self.forward(layer, node, inputs)[1])

    def forward(self, layer: Layer, node: Node, inputs: tuple[Array, ...]) -> tuple[Any, Any]:
        """Run a layer forward in a node's place; a random one is given its noise."""
        extra = (self.start.target,) if node.name == "loss" else ()
        noise = {"noise": self.start.noise.get(node.name)} if layer.stochastic else {}
        return layer.forward(*inputs, *extra, **noise)

    def torch_inputs(self, node: Node) -> tuple[Any, ...]:
        """Return what torch's side gave a node."""
        return tuple(self._torch_output(name) for name in node.inputs)

    def _torch_output(self, name: str | None) -> Any:
        given = {**self.start.inputs, **self.start.params}
        if name is None or name in given:
            return None if name is None else given[name]
        node, _, port = name.partition(":")
        return self.torch[Key(node, f"output:{port}" if port else "output")]


def continuous(values: Mapping[Key, Any]) -> dict[Key, Any]:
    """Return what no kink can explain, being continuous across it: outputs and the loss."""
    return {k: v for k, v in values.items() if k.quantity.partition(":")[0] in ("output", "loss")}


def without_excuses(
    before: Rows, after: Rows, flips: dict[str, int], nodes: Any, torch: Values
) -> tuple[Rows, dict[str, int]]:
    """Keep what was wrong without a referee and is `continuous`: torch's decision excuses none.

    (An index is not, nor is it a real number.) And where the input of a layer disagrees, its flips
    are no rounding.
    """
    verdicts = after.verdicts.copy()
    measures = np.array(after.measures)
    places = {key: i for i, key in enumerate(after.keys)}
    wrong = set()
    for i in np.flatnonzero(before.verdicts == DISAGREE):
        key = before.keys[i]
        if key in places and real(torch.get(key)):
            at = places[key]
            verdicts[at], measures[:, at] = DISAGREE, np.array(before.measures)[:, i]
            wrong.add(key.layer)
    inputs = {node.name: node.inputs for node in nodes} | {"loss": (nodes[-1].name,)}
    kept = {name: n for name, n in flips.items() if wrong.isdisjoint(inputs[name])}
    return after._replace(verdicts=verdicts, measures=type(after.measures)(*measures)), kept
