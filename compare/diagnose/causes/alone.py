"""Single pieces of a step, run again in float64 on both sides, on what torch recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Cause, Tensors
from compare.diagnose.causes.purity import IN_PLACE, Call
from compare.judge.quantities import Key
from compare.pair.nests import same
from compare.running.alone import F64, Moment, beside, wide
from compare.running.update import gradients, updated

Found = dict[str, Tensors]
MOST = 64  # elements or samples of the loss to look at one by one


class Alone:
    """Runs a layer, the loss or an update by itself; results by `output`, `grad:weight`, …

    `grad_input#0` is the gradient of a layer's first input.
    """

    def __init__(self, moment: Moment) -> None:
        self.moment, self.experiment, self.start = moment, moment.experiment, moment.start
        self.nodes = moment.nodes

    def layer(self, name: str) -> Found:
        """Run one node on torch's inputs and upstream gradient, with its winners if need be."""
        call = self.moment.call(name).wide()
        theirs = call.by_torch()
        found = self._tensors(beside(call.by_hand, theirs, F64, self.k))
        if call.winner is not None and not all(t.agree for t in found.values()):
            settled = self._tensors(beside(call.settled().by_hand, theirs, F64, self.k))
            found = settled if all(t.agree for t in settled.values()) else found
        return found

    def loss(self) -> Found:
        """Run the loss on torch's output: its value as `loss`."""
        found = self._tensors(self.moment.loss().wide().beside(F64, self.k))
        return {"loss": found["output"], "grad_input": found["grad_input#0"]}

    def update(self, dotted: str, state: str, theirs: np.ndarray) -> Tensors:
        """Give the hand-written optimiser torch's gradients; `theirs` is what torch's makes."""
        layer, _, parameter = dotted.rpartition(".")
        key = Key(layer, f"state:{parameter}:{state}" if state else f"param:{parameter}")

        def run(lift: Callable) -> dict[str, Any]:
            return updated(self.moment, key, lambda a: lift(wide(a)))

        found = self._tensors(beside(run, {"updated": theirs}, F64, self.k))
        return found.get("updated", Tensors(np.zeros(0), theirs, 0.0))

    def gradients(self) -> dict[str, np.ndarray]:
        """Return torch's gradients before clipping."""
        return {name: wide(grad) for name, grad in gradients(self.moment).items()}

    def unclean(self) -> Cause | None:
        """Return the cause if some layer changes its arguments or remembers an earlier call."""
        arguments = {spec.name: spec.args for spec in self.experiment.layers}
        calls = [(self.moment.call(name), args) for name, args in arguments.items()]
        calls.append((self.moment.loss(), self.experiment.config.loss.args))
        for call, args in calls:
            if (cause := Call(call.wide()).unclean(args)) is not None:
                return cause
        return self._changed_by_step()

    def _changed_by_step(self) -> Cause | None:
        """Return the cause if the optimiser changes gradients, parameters or state in place."""
        params = {k: wide(p) for k, p in self.start.params.items()}
        given = (params, self.gradients(), copy.deepcopy(self.start.states))
        before = copy.deepcopy(given)
        self.experiment.manual.update(*given, self.start.lr)
        for name, now, then in zip(("parameter", "gradient", "state"), given, before, strict=True):
            if not same(now, then):
                text = f"a {name} is changed by the optimiser's update in place."
                return Cause("arguments changed", text, IN_PLACE)
        return None

    def params(self, name: str) -> dict[str, np.ndarray]:
        return self.moment.call(name).wide().params

    def inputs(self, name: str) -> list[np.ndarray]:
        return [x for x in self.moment.call(name).wide().inputs if x is not None]

    def upstream(self, name: str) -> np.ndarray:
        """Return torch's gradient of the node's output; a random one if nothing needed it."""
        return self.moment.call(name).wide().upstream

    def output(self) -> np.ndarray:
        return wide(self.moment.recorded(self.experiment.manual.graph.output))

    def module(self, module: Any = None) -> Any:
        """Return torch's loss (or another module) in float64."""
        return copy.deepcopy(module or self.experiment.torch.loss_module).double().cpu()

    def loss_with(self, module: Any = None) -> Callable:
        """Return torch's loss (or another module) as a function of the output."""
        module, target = self.module(module), torch_tensor(wide(self.start.target))
        return lambda y: module(y, target)

    @property
    def k(self) -> float:
        return self.experiment.config.compare.k

    def _tensors(self, found: dict[str, tuple]) -> Found:
        return {role: Tensors(*three) for role, three in found.items()}


def torch_tensor(a: Any) -> Any:
    import torch

    return torch.tensor(a)
