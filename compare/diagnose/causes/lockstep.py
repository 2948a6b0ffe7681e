"""The cause of a lockstep run's first divergence: the suspect is run again, alone, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from compare.diagnose.causes import layers, loss_rows, losses, one_by_one
from compare.diagnose.causes.alone import Alone, Found
from compare.diagnose.causes.cause import BATCH, CLASSES, Cause, Context
from compare.diagnose.causes.find import find_cause
from compare.diagnose.causes.updates import update_cause
from compare.judge.quantities import LOSS, Key, Values
from compare.running.alone import Moment


class Search:
    """What is known of one step, and where to look for the cause of one key's disagreement.

    Must be used before the next step: it reads torch's side as the step left it.
    """

    def __init__(self, moment: Moment, failure: Exception | None) -> None:
        self.experiment, self.start, self.step = moment.experiment, moment.start, moment
        self.torch: Values = moment.torch
        self.failure = failure  # of the hand-written side
        self.double = Alone(moment)

    def cause(self, key: Key, layer: str, quantity: str, own: bool) -> Cause | None:
        """Return the cause of what `key`'s row shows, given whose mistake it was found to be."""
        if key not in self.step.manual:
            return _raised(self.failure) or _one_sided(key, "torch", "manual")
        if isinstance(self.step.manual[key], Mapping | list | tuple | str):
            text = f"'{key.quantity}' of '{key.layer}' is no array but a "
            text += f"{type(self.step.manual[key]).__name__}."
            return Cause("no array", text, "Look at which name is returned, or stored.")
        if key not in self.torch:
            return _one_sided(key, "manual", "torch")
        return self._fitted(key, layer, quantity, own) or self.double.unclean()

    def _fitted(self, key: Key, layer: str, quantity: str, own: bool) -> Cause | None:
        kind = quantity.partition(":")[0]
        if kind in ("param", "state"):
            return self._update(key) if own else None
        penalised = bool(self.experiment.manual.penalties)
        if quantity == "loss" and penalised and self.double.loss()["loss"].agree:
            return self._penalty_value(key)
        if not own:
            return None
        if kind == "grad_output" and layer == key.layer:
            return self._branch(key)
        if kind == "grad_output":  # its consumer's mistake
            quantity = "grad_input"
        if quantity.startswith("grad:") and self.double.layer(layer)[quantity].agree:
            return self._penalty(key)
        if layer == "loss":
            return self._loss(key, quantity)
        return self._layer(layer, quantity)

    def _layer(self, layer: str, quantity: str) -> Cause | None:
        """Compare the layer alone, in the run's dtype and in float64."""
        return self._of(self.double.layer(layer), layer, quantity, layers.layer_context)

    def _loss(self, key: Key, quantity: str) -> Cause | None:
        cause = self._of(self.double.loss(), "loss", quantity, losses.loss_context)
        if (
            cause is None
            and quantity == "loss"
            and (rows := one_by_one.loss_rows(self.double)) is not None
        ):
            cause = find_cause(*rows, loss_rows.rows_context(self.double, self._sizes()))
            return cause and replace(cause, evidence=f"Taken one by one: {cause.evidence}")
        return cause

    def _of(self, found: Found, layer: str, quantity: str, make: Callable) -> Cause | None:
        """Return the cause in the first of the quantity's tensors that is wrong."""
        single = self.experiment.dtype == np.float32
        wrong = [name for name in found if name.partition("#")[0] == quantity]
        wrong = [name for name in wrong if not found[name].agree] or (wrong if single else [])
        if not wrong:
            return None
        name = wrong[0]
        context = make(self.double, layer, name, self._sizes())
        if single:
            context = replace(context, double=lambda: found[name], dtype="float32")
        return find_cause(*found[name], context)

    def _branch(self, key: Key) -> Cause | None:
        """The consumers are right one by one: what is wrong is how their gradients are added."""
        nodes = [n for n in self.experiment.manual.graph.nodes if key.layer in n.inputs]
        terms = {}
        for node in nodes:
            for i, source in enumerate(node.inputs):
                if source == key.layer:
                    grad = self.double.layer(node.name)[f"grad_input#{i}"].reference
                    terms[f"the gradient from '{node.name}'"] = grad
        cause = self._as_seen(key, replace(self._known(key), terms=terms))
        return cause and replace(cause, kind=_BRANCH.get(cause.kind, cause.kind))

    def _penalty(self, key: Key) -> Cause | None:
        name = key.quantity.removeprefix("grad:")
        own = self.double.layer(key.layer)[key.quantity].reference
        rest = self.torch[key] - own
        owner = " and ".join(self._penalties_of(f"{key.layer}.{name}"))
        parameter = self.start.params[f"{key.layer}.{name}"]
        terms = {"the layer's own gradient": own, f"the gradient of {owner}": rest}
        known = replace(
            self._known(key), terms=terms, others={"the parameter": parameter},
            constants={"the coefficient": self._coefficient(f"{key.layer}.{name}")},
        )  # fmt: skip
        excess = np.asarray(self.step.manual[key]) - own
        cause = find_cause(excess, rest, self._tolerance(key), replace(known, terms={}))
        if cause is not None and cause.kind != "zero":
            text = cause.evidence.replace("manual", "manual's penalty").replace(
                "torch", "torch's", 1
            )
            return replace(cause, evidence=text)
        cause = self._as_seen(key, known)
        if cause is None or cause.kind != "missing term":
            return cause
        advice = "A penalty is part of the loss: its gradient is added to the parameter's."
        return replace(cause, kind="penalty missing", advice=advice)

    def _coefficient(self, name: str) -> float:
        found = [p for p, names in self.experiment.manual.penalties if name in names]
        return float(getattr(found[0], "coefficient", 0.0)) if found else 0.0

    def _penalties_of(self, name: str) -> list[str]:
        return [repr(p) for p, names in self.experiment.manual.penalties if name in names]

    def _penalty_value(self, key: Key) -> Cause | None:
        """The data loss is right: a penalty's value is wrong, or it is not added."""
        for name, weights, values in one_by_one.penalties(self.double):
            if not values.agree:
                sizes = {} if values.reference.ndim else {"the number of weights": weights.size}
                known = {} if sizes else {"w": weights}
                cause = find_cause(*values, Context(sizes=sizes, others=known, places=known))
                text = f"{name}, of {'all weights' if sizes else 'one weight at a time'}: "
                return cause and replace(cause, evidence=f"{text}{cause.evidence}")
        return self._as_seen(key, replace(self._known(key), terms=self._loss_terms()))

    def _loss_terms(self) -> dict[str, np.ndarray]:
        data = self.double.loss()["loss"].reference
        return {"the data loss": data, "the penalties": self.torch[LOSS] - data}

    def _update(self, key: Key) -> Cause | None:
        name, _, state = key.quantity.partition(":")[2].partition(":")
        return update_cause(self.double, f"{key.layer}.{name}", state or "param")

    def _as_seen(self, key: Key, context: Context) -> Cause | None:
        """Fit the row's own numbers."""
        return find_cause(self.step.manual[key], self.torch[key], self._tolerance(key), context)

    def _tolerance(self, key: Key) -> Any:
        return self.step.tolerances.get(key, 0.0)

    def _known(self, key: Key) -> Context:
        return Context(sizes=self._sizes(), dtype=str(self.experiment.dtype))

    def _sizes(self) -> dict[str, int]:
        output = self.torch[Key(self.experiment.manual.graph.output, "output")]
        if not np.ndim(self.start.target):  # a mirror: the loss is computed within
            given = self.start.x.values() if isinstance(self.start.x, Mapping) else ()
            lengths = [len(a) for a in given if np.ndim(a)]
            return {BATCH: lengths[0]} if lengths else {}
        sizes = {BATCH: len(self.start.target)}
        return sizes | ({CLASSES: output.shape[-1]} if output.ndim > 1 else {})


_BRANCH = {
    "missing term": "branch not added",
    "extra term": "branch added twice",
    "sign of a term": "branch subtracted",
}


def _one_sided(key: Key, one: str, other: str) -> Cause:
    """Return the cause of a tensor that only one side has."""
    kind, _, name = key.quantity.partition(":")
    what = f"the state '{name.rpartition(':')[2]}'" if kind == "state" else f"'{key.quantity}'"
    return Cause(
        "missing tensor" if one == "torch" else "extra tensor",
        f"{one} returns {what} of '{key.layer}', {other} does not.",
        "Look for an option that is on at one side only, and for a state that is not handed on."
        if kind == "state"
        else "Compare what is returned, and under which names, with torch's parameters.",
    )


def _raised(failure: Exception | None) -> Cause | None:
    """Return the cause of a tensor that was never computed."""
    if failure is None:
        return None
    _, method = getattr(failure, "place", ("", "update"))
    return Cause(
        "exception",
        f"{method} raised {type(failure).__name__}: {failure}".splitlines()[0],
        "Write the shape of every factor beside the line, and look for names used before they are "
        "set.",
    )
