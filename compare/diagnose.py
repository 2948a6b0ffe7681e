"""Find the first disagreement in execution order, and whose mistake it is.

The suspect layer is run by itself on torch's own inputs and upstream gradient, beside torch's
module on the same: if it still disagrees, the mistake is its own; else it only passed one on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compare.causes import Cause
from compare.experiment import Experiment
from compare.gauge import gauge, gauging
from compare.hearing import hearing
from compare.judge import AGREE, MISSING, NON_FINITE, gauged, judge, promoted
from compare.lockstep import Step
from compare.quantities import LOSS, Key, Values
from compare.report import Divergence, Place
from compare.sources import derivation_of, source_of, torch_text, unplanted
from compare.start import Start
from compare.witness.lockstep import Hearing
from manual.graph import Layer, Node


class Suspect(NamedTuple):
    """Whose formula was examined, and what was found."""

    layer: str
    quantity: str
    own: bool
    formula: Any  # the object whose source is shown
    method: str
    explanation: str


def first_divergence(experiment: Experiment, start: Start, step: Step) -> Divergence | None:
    """Return the step's first disagreement with its cause localised; None if there is none.

    Must be called before the next step: it reads torch's side as the step left it.
    """
    rows = step.rows
    if not rows.bad.size:
        return None
    i = int(rows.bad[0])
    key = rows.keys[i]
    if rows.verdicts[i] == NON_FINITE and not np.isfinite(rows.measures.scale[i]):
        suspect = _overflowed(experiment, key)
    elif step.failure is not None and rows.verdicts[i] == MISSING:
        suspect = _raised(experiment, step.failure, key)
    elif promoted(key, step.manual, step.torch):
        suspect = _promoted(experiment, step, key)
    else:
        suspect = Examiner(experiment, start, step).suspect(key)
    agreed = [j for j in range(i) if rows.verdicts[j] == AGREE]
    last: Place | None = (step.number, *rows.keys[agreed[-1]]) if agreed else None
    return Divergence(
        step=step.number,
        layer=suspect.layer,
        quantity=suspect.quantity,
        max_abs_diff=float(rows.measures.max_abs[i]),
        own_or_inherited="own" if suspect.own else "inherited",
        layer_type=type(unplanted(suspect.formula)).__name__,
        worst_index=index_text(rows.measures.worst[i], rows.shapes[i]),
        manual=float(rows.measures.manual[i]),
        torch=float(rows.measures.torch[i]),
        row=(step.number, *key),
        last_agreed=last,
        explanation=suspect.explanation,
        witnesses=_witnesses(experiment, start, step, suspect),
        manual_source=source_of(suspect.formula, suspect.method),
        derivation=derivation_of(suspect.formula),
        torch_source=torch_text(experiment, suspect.layer),
        cause=_cause(experiment, start, step, key, suspect),
    )


def _overflowed(experiment: Experiment, key: Key) -> Suspect:
    """Torch's side is not finite either: nothing can be said of the formula."""
    text = (
        "Torch's side holds NaN or infinity here as well: the run overflowed or diverged. That "
        "says nothing of the formula; a smaller learning rate or scaled data may keep it finite."
    )
    side = experiment.manual
    formula = {node.name: node.layer for node in side.graph.nodes}.get(key.layer, side.loss)
    return Suspect(key.layer, key.quantity, False, formula, "forward", text)


def _promoted(experiment: Experiment, step: Step, key: Key) -> Suspect:
    """Name the layer that computes in another dtype than its inputs have."""
    graph, side = experiment.manual.graph, experiment.manual
    layers: dict[str, Any] = {node.name: node.layer for node in graph.nodes}
    fed = [node.name for node in graph.nodes if key.layer in node.inputs]
    kind = key.quantity.partition(":")[0]
    name, method = key.layer, "forward" if kind in ("output", "loss") else "backward"
    if kind in ("grad_output", "grad_input"):
        name = fed[0] if fed else "loss"
    formula = side.optimizer if kind in ("param", "state") else layers.get(name, side.loss)
    method = "update" if kind in ("param", "state") else method
    ours, theirs = step.manual[key].dtype, step.torch[key].dtype
    text = (
        f"It computes in {ours} where torch computes in {theirs}: the numbers may agree, and say "
        f"nothing of {theirs} arithmetic. Look for what promotes the rest to {ours}: np.zeros "
        "without a dtype, np.float64(…), a constant kept as an array."
    )
    return Suspect(name, key.quantity, True, formula, method, text)


def _raised(experiment: Experiment, failure: Exception, key: Key) -> Suspect:
    """Name the layer whose code raised, instead of what was never computed because of it."""
    name, method = getattr(failure, "place", ("", "update"))
    side = experiment.manual
    layers: dict[str, Any] = {node.name: node.layer for node in side.graph.nodes}
    formula = layers.get(name, side.loss)
    if method == "update":
        name, formula = key.layer, side.optimizer
    quantity = {"forward": "output", "backward": "grad_input"}.get(method, key.quantity)
    text = f"Its {method} raised {type(failure).__name__}: {failure}"
    return Suspect(name, quantity, True, formula, method, text)


def _cause(
    experiment: Experiment, start: Start, step: Step, key: Key, suspect: Suspect
) -> Cause | None:
    """Say what the mistake looks like; a search that fails must not hide the disagreement."""
    from compare.causes.lockstep import Search

    try:
        search = Search(experiment, start, step)
        return search.cause(key, suspect.layer, suspect.quantity, suspect.own)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return None


def _witnesses(
    experiment: Experiment, start: Start, step: Step, suspect: Suspect
) -> Hearing | None:
    """Ask whoever needs no torch about a formula that is wrong by itself."""
    return (
        hearing(experiment, start, step.torch, suspect.layer, suspect.quantity)
        if suspect.own and isinstance(suspect.formula, Layer)
        else None
    )


def index_text(flat: float, shape: tuple[int, ...]) -> str:
    """Return an index such as `(3, 5)` for a flat position; `()` for a number."""
    if not np.isfinite(flat):
        return ""
    return str(tuple(int(i) for i in np.unravel_index(int(flat), shape)))


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
            for penalty, names in self.side.penalties:
                if name in names:
                    text = (
                        f"The layer's own gradient agrees; the {type(penalty).__name__} added to "
                        "it does not."
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
        if not own and quantity == "loss" and self.side.penalties:
            text = "The data loss agrees; a penalty added to it does not."
        return Suspect("loss", quantity, own, self.side.loss, method, text)

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
    extra = (noise,) if layer.stochastic else ()
    y, cache = layer.forward(*inputs, *extra)
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


def _told(node: Node, quantity: str, own: bool) -> str:
    name = f"'{node.name}' ({node.layer!r})"
    if quantity in ("output", "loss"):
        what = "the value that it computes"
    else:
        what = f"the {quantity.replace(':', ' of ')} that its backward computes"
    if own:
        return f"Given torch's own inputs, {what} in layer {name} is still wrong: its own mistake."
    return f"Given torch's own inputs, layer {name} is right: it passed on what it received."
