"""Runs single pieces of a step alone, on torch's own inputs: whose mistake is a disagreement?"""

from __future__ import annotations

from typing import Any, NamedTuple

from compare.diagnose.scaling import (
    in_double,
    mistaken,
    of_scaler,
    of_upstream,
    scaled_wrongly,
    unscaled,
)
from compare.judge.judge import judge
from compare.judge.quantities import LOSS, REDUCED, Key
from compare.pair.sources import unplanted
from compare.running.alone import Call, Moment, beside, owners
from compare.running.meeting import FOUND, SCALE, TRACKER
from compare.running.update import updated
from manual.graph import Layer, Node
from manual.nodes import path_of


class Suspect(NamedTuple):
    """Whose formula was examined, and what was found."""

    layer: str
    quantity: str
    own: bool
    formula: Any  # the object whose source is shown
    method: str
    explanation: str

    @property
    def role(self) -> str:
        """What a piece that is run alone calls the quantity."""
        return "output" if self.quantity == "loss" else self.quantity


class Examiner:
    """Re-runs single pieces of a step on what torch's side recorded."""

    def __init__(self, moment: Moment) -> None:
        self.moment, self.experiment = moment, moment.experiment
        self.side = self.experiment.manual

    def suspect(self, key: Key) -> Suspect:
        """Examine whatever computes this quantity."""
        kind, _, rest = key.quantity.partition(":")
        if key in (SCALE, TRACKER, FOUND):
            return Suspect(key.layer, key.quantity, True, *of_scaler(self.moment, key))
        if kind in ("param", "state"):
            return self._optimizer(key)
        if kind in ("grad_output", "grad_input"):
            return self._consumers(key, f"{key.layer}:{rest}" if rest else key.layer)
        if key == LOSS:
            return self._loss(key, "output", "forward")
        if kind == REDUCED:
            text = "What the workers exchange is wrong, or what is made of it."
            return Suspect(key.layer, key.quantity, True, self.side, "reduced", text)
        return self._makers(key, rest)

    def _makers(self, key: Key, parameter: str) -> Suspect:
        """Examine the node, or every node that shares what the quantity is of."""
        nodes = self.moment.nodes
        names = [key.layer] if key.layer in nodes else owners(self.moment, key.layer, parameter)
        if key.quantity.startswith("grad:"):
            names = owners(self.moment, key.layer, parameter)
        if not names:  # a parameter that no layer has: those that read it
            return self._consumers(key, f"{key.layer}.{parameter}" if key.layer else parameter)
        found = [self._layer(nodes[name], self._role(name, key), key) for name in names]
        wrong = next((suspect for suspect in found if suspect.own), found[0])
        if wrong.own or len(found) == 1 or self._parts_add_up(names, key):
            return wrong
        text = (
            f"Every layer that uses '{key.layer}.{parameter}' has a correct gradient of it: what "
            "is wrong is how their gradients are added."
        )
        return wrong._replace(own=True, explanation=text)

    def _role(self, name: str, key: Key) -> str:
        """Return what a node calls its share of a quantity: a tied parameter has two names."""
        kind, _, parameter = key.quantity.partition(":")
        own = self.moment.nodes[name].layer.params
        if kind != "grad" or parameter in own:
            return key.quantity
        inner = f"{key.layer}.{parameter}".removeprefix(f"{path_of(name)}.")
        if inner in own:  # a piece that holds modules
            return f"grad:{inner}"
        tied = self.side.graph.tied
        here = (k for k in own if tied.get(f"{name}.{k}") == f"{key.layer}.{parameter}")
        return f"grad:{next(here, parameter)}"

    def _layer(self, node: Node, quantity: str, key: Key) -> Suspect:
        call = self.moment.call(node.name).settled()
        own = not self._agree(call, quantity)
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

    def _consumers(self, key: Key, value: str) -> Suspect:
        """Examine the layers whose backward produced this gradient."""
        graph = self.side.graph
        if value == graph.output:
            return self._loss(key, "grad_input", "backward")
        consumers = [node for node in graph.nodes if value in node.inputs]
        if not consumers:
            text = (
                f"Nothing on the hand-written side takes '{value}', and torch has a gradient of it."
            )
            owner = self.moment.nodes[key.layer].layer if key.layer in self.moment.nodes else graph
            return Suspect(key.layer, key.quantity, True, owner, "backward", text)
        known = [node for node in consumers if self.experiment.torch.has(node.name)]
        for node in known:
            if not self._agree(self.moment.call(node.name).settled(), "grad_input"):
                return self._layer(node, "grad_input", key)
        if len(known) < len(consumers):
            node = next(n for n in consumers if n not in known)
            text = (
                f"Torch has no counterpart of '{node.name}' to run beside it: what comes back out "
                "of it is wrong, or of another that torch has none of after it."
            )
            return Suspect(node.name, "grad_input", True, node.layer, "backward", text)
        node = self.moment.nodes.get(key.layer, consumers[0])
        own = len(consumers) > 1 and not self._add_up(consumers, value, key)
        text = (
            f"Every layer fed by '{value}' has a correct backward, given torch's inputs and "
            "upstream gradient: "
            + (
                "what is wrong is how their gradients are added at the branch."
                if own
                else "what is wrong came from further up."
            )
        )
        return Suspect(key.layer, key.quantity, own, node.layer, "backward", text)

    def _parts_add_up(self, names: list[str], key: Key) -> bool:
        """Return whether the gradients of all calls of a parameter add up to what we have of it."""
        ours = self._given()
        if ours is None or not key.quantity.startswith("grad:"):
            return False

        def run(lift: Any) -> dict[str, Any]:
            calls = [(ours.call(name).settled().by_hand(lift), name) for name in names]
            parts = [
                found[role] for found, name in calls if (role := self._role(name, key)) in found
            ]
            return {"added": sum(parts[1:], parts[0])}

        return self._judged(run, {"added": self.moment.manual[key]}, "added")

    def _given(self) -> Moment | None:
        """Return the moment with the numbers that our own pieces were given; None if one raised."""
        if self.experiment.config.train.half:
            return self.moment
        ours = self.moment._replace(torch=self.moment.manual)
        return None if any(k not in ours.torch for k in self.moment.torch) else ours

    def _add_up(self, consumers: list[Node], value: str, key: Key) -> bool:
        """Return whether the gradients that flow back into a value add up, on our own numbers."""
        ours = self._given()
        if ours is None:
            return False  # it raised on the way

        def run(lift: Any) -> dict[str, Any]:
            flows = []
            for node in consumers:
                found = ours.call(node.name).settled().by_hand(lift)
                flows += [
                    found[f"grad_input#{i}"]
                    for i, source in enumerate(node.inputs)
                    if source == value and f"grad_input#{i}" in found
                ]
            return {"added": sum(flows[1:], flows[0])}

        return self._judged(run, {"added": self.moment.manual[key]}, "added")

    def _loss(self, key: Key, quantity: str, method: str) -> Suspect:
        own = not self._agree(self.moment.loss(), quantity)
        quantity = "loss" if quantity == "output" else quantity
        text = _told(Node("loss", self.side.loss, ()), quantity, own)
        if not own and quantity == "loss" and (penalty := self._wrong_penalty("output")):
            text = f"The data loss agrees; the {type(penalty).__name__} added to it does not."
            return Suspect("loss", quantity, True, penalty, method, text)
        if not own and method == "backward" and scaled_wrongly(self.moment, key):
            return Suspect("loss", quantity, True, *of_upstream(self.moment))
        return Suspect("loss", quantity, own, self.side.loss, method, text)

    def _wrong_penalty(self, quantity: str, of: str | None = None) -> Layer | None:
        """Return the first penalty that differs from torch's, on the step's own parameters.

        Args:
            quantity: `output` for its value, `grad_input` for its gradient.
            of: the parameter; every one by default.
        """
        calls = self.moment.penalties(of)
        return next((c.layer for c in calls if not self._agree(c, quantity)), None)

    def _optimizer(self, key: Key) -> Suspect:
        """Give the hand-written optimiser torch's gradients; does the update still disagree?"""
        train, moment = self.experiment.config.train, unscaled(self.moment)
        theirs = {"updated": moment.torch[key]} if key in moment.torch else {}
        if theirs and train.half:  # torch's is rounded to a half: ask for it in float64
            theirs = in_double(moment, key)

        def run(lift: Any) -> dict[str, Any]:
            return updated(moment, key, lift)

        own = not theirs or not self._judged(run, theirs, "updated")
        if train.scaler and not own:
            return Suspect(key.layer, key.quantity, True, *mistaken(self.moment, key))
        name = f"{key.layer}.{key.quantity.split(':')[1]}"
        optimizer = unplanted(self.side.optimizer.rule_for(name))
        text = (
            f"{type(optimizer).__name__}, given torch's gradients, still differs: the update rule "
            "is wrong."
            if own
            else f"{type(optimizer).__name__} is right, given torch's gradients: it used a "
            "gradient that was wrong before."
        )
        return Suspect(key.layer, key.quantity, own, optimizer, "update", text)

    def _agree(self, call: Call, quantity: str) -> bool:
        """Compare what both sides of one piece say of a quantity; one side alone says nothing."""
        if not self.experiment.torch.has(call.name):
            return True
        try:
            theirs = call.by_torch()
        except RuntimeError:  # what torch calls so has other shapes than the node of a port
            return False
        return self._judged(call.by_hand, theirs, quantity)

    def _judged(self, run: Any, theirs: dict[str, Any], quantity: str) -> bool:
        dtype, k = self.experiment.dtype, self.experiment.config.compare.k
        try:
            found = beside(run, theirs, dtype, k)
        except Exception:  # a wrong shape, most often
            return False
        roles = [role for role in theirs if role.partition("#")[0] == quantity]
        keys = [Key("", role) for role in roles]
        mine, torch, tolerances = (
            {Key("", role): found[role][side] for role in roles if role in found}
            for side in range(3)
        )
        if not roles:  # nothing to compare it with
            return False
        expected = {Key("", role): theirs[role] for role in roles}
        return not judge(keys, mine, expected | torch, tolerances).bad.size


def _method(layer: Layer, quantity: str) -> str:
    """Return the method that computes a quantity; parameter gradients may have one of their own."""
    if quantity.startswith("grad:") and "grad_params" in vars(type(unplanted(layer))):
        return "grad_params"
    if quantity.startswith("buffer:"):
        return "next_buffers"
    return "forward" if quantity.startswith("output") else "backward"


def _told(node: Node, quantity: str, own: bool) -> str:
    name = f"'{node.name}' ({node.layer!r})"
    if quantity.partition(":")[0] in ("output", "loss", "buffer"):
        what = "the value that it computes"
    else:
        what = f"the {quantity.replace(':', ' of ')} that its backward computes"
    if own:
        return f"Given torch's own inputs, {what} in layer {name} is still wrong: its own mistake."
    return f"Given torch's own inputs, layer {name} is right: it passed on what it received."
