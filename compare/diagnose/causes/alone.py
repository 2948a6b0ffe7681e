"""Single pieces of a step, run again in float64 on both sides, on what torch recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Cause, Tensors
from compare.diagnose.causes.purity import IN_PLACE, Call
from compare.gauge import gauge, gauging
from compare.judge.judge import gauged
from compare.judge.quantities import Key, Values
from compare.pair.nests import same
from compare.running.experiment import Experiment

Found = dict[str, Tensors]
MOST = 64  # elements or samples of the loss to look at one by one
F64 = np.dtype(np.float64)


class Alone:
    """Runs a layer, the loss or an update by itself; results by `output`, `grad:weight`, …

    `grad_input#0` is the gradient of a layer's first input.
    """

    def __init__(self, experiment: Experiment, start: Any, torch_values: Values) -> None:
        self.experiment, self.start, self.torch = experiment, start, torch_values
        self.nodes = {node.name: node for node in experiment.manual.graph.nodes}

    def layer(self, name: str) -> Found:
        """Run one node on torch's inputs and upstream gradient."""
        node = self.nodes[name]
        params, inputs, upstream = self.params(name), self.inputs(name), self.upstream(name)
        noise = self.start.noise.get(name)
        extra = {"noise": noise} if node.layer.stochastic else {}

        def run(lift: Callable) -> dict[str, Any]:
            layer = used.with_params({k: lift(p) for k, p in params.items()})
            y, cache = layer.forward(*(lift(x) for x in inputs), **extra)
            grads, own = layer.backward(lift(upstream), cache)
            return _named(y, grads, own)

        tensors = [torch_tensor(a) for a in inputs]
        y, grads, of_params = self.experiment.torch.network.alone(
            name, tensors, {k: torch_tensor(p) for k, p in params.items()}, torch_tensor(upstream)
        )
        theirs = _named(*(_arrays(part) for part in (y, grads, of_params)))
        used = node.layer
        found = self._beside(run, theirs)
        if name in self.start.winners and not all(t.agree for t in found.values()):
            used = self.settled(name)
            settled = self._beside(run, theirs)
            found = settled if all(t.agree for t in settled.values()) else found
        return found

    def settled(self, name: str) -> Any:
        """Return the layer, with torch's winners at near ties if it has any."""
        layer, winners = self.nodes[name].layer, self.start.winners.get(name)
        return layer if winners is None else layer.settled(winners)  # type: ignore[attr-defined]

    def loss(self) -> Found:
        """Run the loss on torch's output."""
        output, target = self.output(), self.start.target
        loss, (theirs_of, leaf) = self.experiment.manual.loss, self._torch_loss(output)

        def run(lift: Callable) -> dict[str, Any]:
            value, cache = loss.forward(lift(output), wide(target))
            (grad, *_), _ = loss.backward(np.ones_like(value), cache)
            return {"loss": value, "grad_input": grad}

        import torch

        value = theirs_of(leaf)
        (grad,) = torch.autograd.grad(value, leaf)
        return self._beside(run, {"loss": _arrays(value), "grad_input": _arrays(grad)})

    def update(self, dotted: str, state: str, theirs: np.ndarray) -> Tensors:
        """Give the hand-written optimiser torch's gradients; `theirs` is what torch's makes."""
        start, grads = self.start, self.gradients()

        def run(lift: Callable) -> dict[str, Any]:
            states = {
                name: {k: lift(wide(v)) if np.ndim(v) else v for k, v in entry.items()}
                for name, entry in start.states.items()
            }
            params, new = self.experiment.manual.update(
                {k: lift(wide(p)) for k, p in start.params.items()},
                {k: lift(g) for k, g in grads.items()},
                states,
                start.lr,
            )
            found = new[dotted].get(state) if state else params[dotted]
            return {} if found is None else {"updated": found}

        return self._beside(run, {"updated": theirs}).get(
            "updated", Tensors(np.zeros(0), theirs, 0.0)
        )

    def gradients(self) -> dict[str, np.ndarray]:
        """Return torch's gradients before clipping."""
        return {
            f"{k.layer}.{k.quantity[5:]}": wide(v)
            for k, v in self.torch.items()
            if k.quantity.startswith("grad:")
        }

    def unclean(self) -> Cause | None:
        """Return the cause if some layer changes its arguments or remembers an earlier call."""
        for spec in self.experiment.config.layers:
            layer, noise = self.nodes[spec.name].layer, self.start.noise.get(spec.name)
            extra = {"noise": noise} if layer.stochastic else {}
            layer = layer.with_params(self.params(spec.name))
            call = Call(spec.name, layer, self.inputs(spec.name), self.upstream(spec.name), extra)
            if (cause := call.unclean(spec.args)) is not None:
                return cause
        call = Call(
            "loss", self.experiment.manual.loss, [self.output()], np.ones(()),
            {"target": wide(self.start.target)},
        )  # fmt: skip
        return call.unclean(self.experiment.config.loss.args) or self._changed_by_step()

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
        keys = self.nodes[name].layer.params
        return {key: wide(self.start.params[f"{name}.{key}"]) for key in keys}

    def inputs(self, name: str) -> list[np.ndarray]:
        values = {"input": self.start.x}
        return [
            wide(values[n] if n in values else self.torch[Key(n, "output")])
            for n in self.nodes[name].inputs
        ]

    def upstream(self, name: str) -> np.ndarray:
        """Return torch's gradient of the node's output; a random one if nothing needed it."""
        found = self.torch.get(Key(name, "grad_output"))
        shape = self.torch[Key(name, "output")].shape
        return np.random.default_rng(0).standard_normal(shape) if found is None else wide(found)

    def output(self) -> np.ndarray:
        return wide(self.torch[Key(self.experiment.manual.graph.output, "output")])

    def _torch_loss(self, output: np.ndarray) -> tuple[Callable, Any]:
        return self.loss_with(), torch_tensor(output).requires_grad_()

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

    def _beside(self, run: Callable, theirs: dict[str, Any]) -> Found:
        """Run plainly and on gauge arrays; pair what both sides have."""
        mine = run(lambda a: a)
        with gauging(F64):
            gauges = {Key("", k): v for k, v in run(gauge).items()}
        room = gauged(gauges, F64, self.k)
        return {
            name: Tensors(np.asarray(mine[name]), theirs[name], room[Key("", name)])
            for name in theirs
            if name in mine
        }


def _named(y: Any, grads: Any, own: Any) -> dict[str, Any]:
    inputs = {f"grad_input#{i}": grad for i, grad in enumerate(grads)}
    return {"output": y, **inputs, **{f"grad:{key}": grad for key, grad in own.items()}}


def wide(a: Any) -> Any:
    """Return a float array in float64, anything else as it is."""
    return a.astype(F64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


def torch_tensor(a: Any) -> Any:
    import torch

    return torch.tensor(a)


def _arrays(found: Any) -> Any:
    if isinstance(found, dict):
        return {k: _arrays(v) for k, v in found.items()}
    if isinstance(found, tuple | list):
        return [_arrays(v) for v in found]
    return found.detach().numpy(force=True)
