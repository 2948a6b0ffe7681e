"""The hand-written side of a lockstep run, in whatever number system its inputs carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import (
    LOSS,
    Values,
    of_backward,
    of_buffers,
    of_forward,
    of_update,
    real,
    used_values,
)
from manual.clipping import clip_grad_norm, clip_grad_value
from manual.graph import (
    Array,
    Arrays,
    Gradients,
    Graph,
    Intercept,
    Layer,
    Node,
    Tape,
    located,
)
from manual.joins import Add
from manual.nodes import ports_of
from manual.optimizers import Optimizer
from manual.training import Training

States = dict[str, dict[str, Any]]
Given = Array | Mapping[str, Array]  # the network's input, or its inputs by name


class Pass(NamedTuple):
    """One forward and backward pass: the tape, the loss, its gradients."""

    tape: Tape
    loss: Array
    gradients: Gradients


class Forward(NamedTuple):
    """A forward pass, and what its backward needs."""

    graph: Graph
    tape: Tape
    loss: Array
    upstream: Array
    cache: Any
    penalty_caches: list


class ManualSide(NamedTuple):
    """A graph with its loss, penalties and optimiser; holds no weights of its own."""

    graph: Graph
    loss: Layer
    penalties: Sequence[tuple[Layer, Sequence[str]]]
    optimizer: Optimizer
    clip_norm: float | None = None
    clip_value: float | None = None
    frozen: frozenset[str] = frozenset()  # parameters that are not trained

    def training(self, params: Arrays) -> Training:
        """Return plain training from these parameters, without anything that is compared.

        Its graph takes the network's inputs and then the target, and ends in the loss.
        """
        graph = self.graph
        nodes = [*graph.nodes, Node("loss", self.loss, (graph.output, "target"))]
        for i, (penalty, name) in enumerate((p, n) for p, names in self.penalties for n in names):
            total = nodes[-1].name
            nodes.append(Node(f"penalty{i}", penalty, (name,)))
            nodes.append(Node(f"loss{i}", Add(), (total, f"penalty{i}")))
        whole = Graph(nodes, (*graph.inputs, "target"), tied=graph.tied)
        return Training(
            whole.with_params(params), self.optimizer,
            clip_norm=self.clip_norm, clip_value=self.clip_value,
        )  # fmt: skip

    def forward(
        self,
        params: Mapping[str, Array],
        x: Given,
        target: Array,
        *,
        buffers: Mapping[str, Array] | None = None,
        noise: Mapping[str, Array] | None = None,
        intercept: Intercept | None = None,
    ) -> Forward:
        """Run the network, the loss and the penalties with these parameters and buffers."""
        graph = self.graph.with_params(params)
        graph = graph.with_buffers(buffers) if buffers else graph
        tape = graph.run(x, noise=noise, intercept=intercept)
        output = tape.output
        if intercept is not None:
            (output,) = intercept(Node("loss", self.loss, (graph.output,)), (output,))
        try:
            loss, cache = self.loss.forward(output, target)
        except Exception as error:
            raise located(error, "loss", self.loss, "forward") from None
        upstream = np.ones_like(loss)  # of the loss's own number system
        caches = []
        for penalty, names in self.penalties:
            for name in names:
                value, penalty_cache = penalty.forward(params[name])
                loss = loss + value
                caches.append((penalty, name, penalty_cache))
        return Forward(graph, tape, loss, upstream, cache, caches)

    def backward(self, forward: Forward, *, input_grad: bool = False) -> Gradients:
        """Run the loss's, the network's and the penalties' backward."""
        try:
            (grad_output, *_), _ = self.loss.backward(forward.upstream, forward.cache)
        except Exception as error:
            raise located(error, "loss", self.loss, "backward") from None
        wrt = self.graph.inputs if input_grad else ()
        gradients = forward.graph.gradients(forward.tape, grad_output, wrt=wrt)
        for penalty, name, cache in forward.penalty_caches:
            (grad,), _ = penalty.backward(forward.upstream, cache)
            gradients.params[name] = gradients.params[name] + grad
        return gradients

    def forward_backward(
        self, params: Mapping[str, Array], x: Given, target: Array, *, input_grad: bool = False,
        **options: Any,
    ) -> Pass:  # fmt: skip
        """Run forward and backward."""
        forward = self.forward(params, x, target, **options)
        return Pass(forward.tape, forward.loss, self.backward(forward, input_grad=input_grad))

    def exchanged(self, grads: Arrays, into: Values) -> Arrays:
        """Return the gradients that the update takes: one process has nobody to ask for others."""
        return grads

    def update(
        self, params: Arrays, grads: Arrays, states: States, lr: float
    ) -> tuple[Arrays, States]:
        """Clip if asked, then return the parameters and optimiser state after one step."""
        if self.clip_norm is not None:
            grads, _ = clip_grad_norm(grads, self.clip_norm)
        if self.clip_value is not None:
            grads = clip_grad_value(grads, self.clip_value)
        return self.optimizer.step(params, grads, states, lr)

    def step(
        self, params: Arrays, states: States, lr: float, x: Given, target: Array, *,
        into: Values | None = None, input_grad: bool = False, **options: Any,
    ) -> Values:  # fmt: skip
        """Run one whole training step; return everything that is compared under its key.

        It is put `into` the given dictionary as it comes: what was computed before an exception
        is there all the same.
        """
        into = {} if into is None else into
        forward = self.forward(params, x, target, **options)
        values = forward.tape.values
        into |= of_forward({v: values[v] for node in self.graph.nodes for v in ports_of(node)})
        into[LOSS] = forward.loss
        gradients = self.backward(forward, input_grad=input_grad)
        used = used_values(self.graph.nodes)
        grads = {v: g for v, g in gradients.values.items() if v in used and real(values[v])}
        trained = {name: g for name, g in gradients.params.items() if name not in self.frozen}
        into |= of_backward(grads, trained, self.graph.inputs)
        into |= of_buffers(forward.tape.buffers)
        params = {**params, **self.graph.rewritten(forward.tape)}
        into |= of_update(*self.update(params, self.exchanged(trained, into), states, lr))
        return into
