"""One piece of a step run again by itself, on both sides, on what torch recorded in it.

Whose mistake is a disagreement, what does it look like, whom do the witnesses side with: all of
them ask this one question of a `Moment`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.gauge import Gauge, gauge, gauging, least_tolerance
from compare.judge.quantities import Key, Values, real
from compare.pair.sources import unplanted
from compare.running.experiment import Experiment
from compare.running.moment import Start
from manual.graph import Array, Node
from manual.nodes import dotted, inputs_of, path_of, ports_of

if TYPE_CHECKING:
    from compare.running.lockstep import Step

Lift = Callable[[Any], Any]
Found = dict[str, Any]  # by role: output[:port], grad_input#i, grad:p, buffer:b
F64 = np.dtype(np.float64)


class Moment(NamedTuple):
    """One step that was run: what it started from, and what both sides made of it."""

    experiment: Experiment
    start: Start
    number: int
    manual: Values
    torch: Values
    tolerances: Any
    flips: dict[str, int]

    @classmethod
    def of(cls, experiment: Experiment, start: Start, step: Step) -> Moment:
        """Return a step just run; torch's values are views that its next step overwrites."""
        return cls(
            experiment, start, step.number, step.manual, step.torch, step.tolerances, step.flips
        )

    @property
    def nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self.experiment.manual.graph.nodes}

    def recorded(self, value: str) -> np.ndarray:
        """Return a value as torch's side had it: of the data, a parameter, or a node's port."""
        if value in self.start.inputs:
            return self.start.inputs[value]
        if value in self.start.params:
            return self.start.params[value]
        node, _, port = value.partition(":")
        return self.torch[Key(node, f"output:{port}" if port else "output")]

    def call(self, name: str) -> Call:
        """Return a node's call with torch's inputs and upstream gradients."""
        node, graph = self.nodes[name], self.experiment.manual.graph
        leaves = {key: dotted(name, key) for key in node.layer.params}
        return Call(
            name,
            node.layer,
            tuple(None if v is None else self.recorded(v) for v in node.inputs),
            self._upstream(node),
            {k: self.start.params[graph.tied.get(v, v)] for k, v in leaves.items()},
            {key: self.start.buffers[dotted(name, key)] for key in node.layer.buffers},
            self.start.noise.get(name),
            self.start.winners.get(name),
            self.experiment.torch,
        )

    def loss(self) -> Call:
        """Return the loss's call, without penalties; its target has no gradient."""
        side = self.experiment.manual
        inputs = self.recorded(side.graph.output), self.start.target
        one = np.ones((), inputs[0].dtype)
        return Call("loss", side.loss, inputs, one, torch=self.experiment.torch, wanted=1)

    def at(self, name: str) -> Call:
        """Return a node's call, or the loss's, with torch's winners at near ties."""
        return (self.loss() if name == "loss" else self.call(name)).settled()

    def penalties(self, parameter: str | None = None) -> Iterator[Call]:
        """Yield every penalty's call for each parameter that it is on, or for one parameter."""
        for place, (penalty, names) in enumerate(self.experiment.manual.penalties):
            for name in names:
                if parameter in (None, name):
                    weight = self.start.params[name]
                    yield Call(
                        f"penalty {place}", penalty, (weight,), np.ones((), weight.dtype),
                        torch=self.experiment.torch,
                    )  # fmt: skip

    def _upstream(self, node: Node) -> Any:
        """Return torch's gradients of a node's outputs, zeros where only others have one.

        Random ones where nothing needed any.
        """
        keys = [_port_key(port) for port in ports_of(node)]
        found = [self.torch.get(Key(k.layer, f"grad_{k.quantity}")) for k in keys]
        if all(grad is None for grad in found):
            rng = np.random.default_rng(0)
            found = [_random(self.torch[k], rng) for k in keys]
        filled = [
            np.zeros_like(self.torch[k]) if g is None else g
            for k, g in zip(keys, found, strict=True)
        ]
        return filled[0] if len(filled) == 1 else tuple(filled)


class Call(NamedTuple):
    """A layer, the loss or a penalty, with all that it worked with.

    `inputs` are forward's arguments in order (None: left out); the first `wanted` of them have
    gradients, all without it. `upstream` is built as forward's output is.
    """

    name: str
    layer: Any
    inputs: tuple[Any, ...]
    upstream: Any
    params: dict[str, np.ndarray] = {}
    buffers: dict[str, np.ndarray] = {}
    noise: Any = None
    winner: np.ndarray | None = None  # torch's decisions inside the layer
    torch: Any = None
    wanted: int | None = None

    @property
    def module(self) -> Any:
        """Torch's module of this piece."""
        return self.torch.module_of(self.name)

    @property
    def extra(self) -> dict[str, Any]:
        """The keyword arguments of forward."""
        return {"noise": self.noise} if self.layer.stochastic else {}

    def wide(self) -> Call:
        """Return the same call in float64."""
        return self._replace(
            inputs=tuple(map(wide, self.inputs)),
            upstream=_each(wide, self.upstream),
            params={k: wide(p) for k, p in self.params.items()},
            buffers={k: wide(b) for k, b in self.buffers.items()},
        )

    def settled(self) -> Call:
        """Return the same call with torch's winners at near ties, if it has any."""
        if self.winner is None:
            return self
        return self._replace(layer=self.layer.settled(self.winner), winner=None)

    def by_hand(self, lift: Lift = lambda a: a) -> Found:
        """Run the hand-written side, on arrays lifted into another number system if asked."""
        layer, lifted = self.bound(lift), [_lifted(lift, x) for x in self.inputs]
        count = len(lifted) if self.wanted is None else self.wanted
        lifted[count:] = self.inputs[count:]
        output, cache = layer.forward(*lifted, **self.extra)
        grads, own = layer.backward(_each(lambda a: _lifted(lift, a), self.upstream), cache)
        outputs = output if len(layer.outputs) > 1 else (output,)
        found: Found = dict(zip(roles(layer.outputs), outputs, strict=True))
        found |= {f"grad_input#{i}": g for i, g in enumerate(grads[:count]) if g is not None}
        found |= {f"grad:{key}": grad for key, grad in own.items()}
        after = layer.next_buffers(cache) if self.buffers else {}
        return found | {f"buffer:{key}": array for key, array in after.items()}

    def by_torch(self) -> Found:
        """Run torch's module on the same."""
        found = self.torch.alone(
            self.name, self.inputs, self.params, self.buffers, self.upstream, self.wanted,
            inputs_of(type(unplanted(self.layer))) or (),
        )  # fmt: skip
        names = roles(self.layer.outputs)
        named: Found = dict(zip(names, found.outputs, strict=False))
        grads = enumerate(found.grad_inputs)
        named |= {f"grad_input#{i}": g for i, g in grads if g is not None}
        named |= {f"grad:{k}": g for k, g in found.grad_params.items() if g is not None}
        return named | {f"buffer:{k}": b for k, b in found.buffers.items()}

    def bound(self, lift: Lift = lambda a: a) -> Any:
        """Return the layer with its parameters and buffers."""
        layer = self.layer
        if self.params:
            layer = layer.with_params({k: lift(p) for k, p in self.params.items()})
        if self.buffers:
            layer = layer.with_buffers({k: _lifted(lift, b) for k, b in self.buffers.items()})
        return layer

    def beside(
        self, dtype: np.dtype, k: float, theirs: Found | None = None
    ) -> dict[str, tuple[np.ndarray, np.ndarray, Any]]:
        """Run both sides: manual, torch and tolerance by role, where both have one.

        Args:
            dtype: whose roundings the tolerance allows, `k` times.
            theirs: what torch found, if it has run already.

        Raises:
            Exception: whatever a mistake raises.
        """
        return beside(self.by_hand, self.by_torch() if theirs is None else theirs, dtype, k)


def beside(run: Callable[[Lift], Found], theirs: Found, dtype: np.dtype, k: float) -> dict:
    """Run a piece plainly and on gauge arrays; pair what both sides have with its tolerance."""
    mine = run(lambda a: a)
    with gauging(dtype):
        gauges = run(gauge)
    exact = least_tolerance(dtype, k)
    return {
        role: (
            np.asarray(mine[role]),
            theirs[role],
            gauges[role].tolerance(dtype, k) if isinstance(gauges[role], Gauge) else exact,
        )
        for role in theirs
        if role in mine
    }


def apart(sides: Mapping[str, tuple[Any, Any, Any]]) -> set[str]:
    """Return the roles in which two sides of a piece differ by more than the tolerance."""
    return {role for role, side in sides.items() if not within(*side)}


def within(mine: Any, theirs: Any, tolerance: Any) -> bool:
    """Return whether two arrays of one shape differ by no more than a finite tolerance."""
    if theirs is None or np.shape(mine) != np.shape(theirs):
        return False
    difference = np.abs(np.subtract(mine, theirs, dtype=np.float64))
    return bool((difference <= tolerance).all() and np.isfinite(tolerance).all())


def owners(moment: Moment, layer: str, parameter: str) -> list[str]:
    """Return the nodes whose backward adds to one parameter's gradient: calls and ties."""
    graph = moment.experiment.manual.graph
    name = dotted(layer, parameter)
    return [
        node.name
        for node in graph.nodes
        for key in node.layer.params
        if graph.tied.get(dotted(node.name, key), dotted(node.name, key)) == name
    ] or [n for n in moment.nodes if path_of(n) == layer]


def wide(a: Any) -> Any:
    """Return a float array in float64, anything else as it is."""
    return a.astype(F64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


def _lifted(lift: Lift, a: Any) -> Any:
    return lift(a) if a is not None and real(a) else a


def _each(function: Callable, arrays: Any) -> Any:
    return tuple(map(function, arrays)) if isinstance(arrays, tuple) else function(arrays)


def roles(outputs: tuple[str, ...]) -> list[str]:
    """Return the roles of a layer's outputs: the first is the output."""
    return ["output", *(f"output:{port}" for port in outputs[1:])]


def _port_key(value: str) -> Key:
    node, _, port = value.partition(":")
    return Key(node, f"output:{port}" if port else "output")


def _random(like: Array, rng: np.random.Generator) -> Array | None:
    return rng.standard_normal(like.shape).astype(like.dtype) if real(like) else None
