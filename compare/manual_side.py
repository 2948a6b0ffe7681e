"""The hand-written side of a lockstep run, in whatever number system its inputs carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.quantities import Values, collected
from manual.clipping import clip_grad_norm, clip_grad_value
from manual.graph import Array, Arrays, Gradients, Graph, Intercept, Layer, Node, Tape
from manual.optimizers import Optimizer

States = dict[str, dict[str, Any]]


class Pass(NamedTuple):
    """One forward and backward pass: the tape, the loss, its gradients."""

    tape: Tape
    loss: Array
    gradients: Gradients


class ManualSide(NamedTuple):
    """A graph with its loss, penalties and optimiser; holds no weights of its own."""

    graph: Graph
    loss: Layer
    penalties: Sequence[tuple[Layer, Sequence[str]]]
    optimizer: Optimizer
    clip_norm: float | None = None
    clip_value: float | None = None

    def forward_backward(
        self,
        params: Mapping[str, Array],
        x: Array,
        target: Array,
        *,
        noise: Mapping[str, Array] | None = None,
        input_grad: bool = False,
        intercept: Intercept | None = None,
    ) -> Pass:
        """Run forward, loss and backward with these parameters."""
        graph = self.graph.with_params(params)
        tape = graph.forward(x, noise=noise, intercept=intercept)
        output = tape.output
        if intercept is not None:
            (output,) = intercept(Node("loss", self.loss, (graph.output,)), (output,))
        loss, cache = self.loss.forward(output, target)
        (grad_output, *_), _ = self.loss.backward(np.ones_like(loss), cache)
        gradients = graph.backward(tape, grad_output, input_grad=input_grad)
        for penalty, names in self.penalties:
            loss = loss + _add_penalty(penalty, names, params, gradients.params)
        return Pass(tape, loss, gradients)

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
        self, params: Arrays, states: States, lr: float, x: Array, target: Array, **options: Any
    ) -> Values:
        """Run one whole training step; return everything that is compared, under its key."""
        done = self.forward_backward(params, x, target, **options)
        new_params, new_states = self.update(params, done.gradients.params, states, lr)
        outputs = {node.name: done.tape.values[node.name] for node in self.graph.nodes}
        return collected(
            outputs, done.loss, done.gradients.values, done.gradients.params, new_params, new_states
        )


def _add_penalty(penalty: Layer, names: Sequence[str], params: Any, grads: Arrays) -> Array:
    """Add a penalty's gradient to the parameters it names; return its value."""
    total: Any = 0.0
    for name in names:
        value, cache = penalty.forward(params[name])
        (grad,), _ = penalty.backward(np.ones_like(value), cache)
        total, grads[name] = total + value, grads[name] + grad
    return total
