"""What a step starts from, and the two ways of running the hand-written side from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.description.data.dataset import Inputs, each, named
from compare.gauge import gauge, gauging, sketching
from compare.judge.quantities import Values, real
from compare.pair.manual_side import ManualSide, States
from manual.graph import Arrays, Intercept, Node


class Start(NamedTuple):
    """Parameters, buffers, optimiser state and data, and torch's random draws: for both sides."""

    params: Arrays
    states: States
    x: Inputs
    target: np.ndarray
    lr: float
    noise: dict[str, np.ndarray]
    winners: dict[str, np.ndarray]
    input_grad: bool
    buffers: Arrays = {}

    @property
    def inputs(self) -> Mapping[str, np.ndarray]:
        """The network's inputs by name."""
        return named(self.x)


class Attempt(NamedTuple):
    """What the hand-written side computed, and the exception that stopped it, if one did."""

    values: Values
    failure: Exception | None


def attempt(side: ManualSide, start: Start, referee: Intercept | None = None) -> Attempt:
    """Run one step of the hand-written side; an exception in it is a finding, not a crash."""
    values: Values = {}
    failure = None
    try:
        side.step(
            start.params, start.states, start.lr, start.x, start.target, into=values,
            buffers=start.buffers, noise=start.noise, input_grad=start.input_grad,
            intercept=frozen(referee),
        )  # fmt: skip
    except Exception as error:
        failure = error
    return Attempt({key: np.asarray(value) for key, value in values.items()}, failure)


def in_double(start: Start) -> Start:
    """Return the same start with every real number in float64."""

    def lifted(values: Any) -> Any:
        if isinstance(values, dict):
            return {name: lifted(value) for name, value in values.items()}
        floating = isinstance(values, np.ndarray) and values.dtype.kind == "f"
        return values.astype(np.float64) if floating else values

    return Start(*map(lifted, start))


def frozen(referee: Intercept | None) -> Intercept:
    """Let no layer write into its inputs: it would change what the layer before is judged by."""

    def intercept(node: Node, arguments: tuple) -> tuple:
        if referee is not None:
            arguments = referee(node, arguments)
        for array in arguments:
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        return arguments

    return intercept


def gauge_values(
    side: ManualSide, start: Start, dtype: np.dtype, referee: Intercept | None = None,
    *, wide: bool = False, sketch: int | None = None, failing: bool = False,
) -> Values:  # fmt: skip
    """Run the same step of the same code on error-gauge arrays.

    Args:
        wide: keep squared errors in extended precision (see `gauging`).
        sketch: carry the signed errors of the sketch of this number instead (see `sketching`).
        failing: the plain run raised, so this one may.
    """
    values: Values = {}
    states = {
        name: {k: gauge(v) if np.ndim(v) else v for k, v in entry.items()}
        for name, entry in start.states.items()
    }
    params: Any = {name: gauge(p) for name, p in start.params.items()}
    buffers = {name: gauge(b) if real(b) else b for name, b in start.buffers.items()}
    x = each(lambda array: gauge(array) if real(array) else array, start.x)
    target = start.target.astype(np.float64) if real(start.target) else start.target
    try:
        gauged = gauging(dtype, wide=wide)
        with gauged if sketch is None else sketching(dtype, sketch):
            side.step(
                params, states, start.lr, x, target, into=values,
                buffers=buffers, noise=start.noise, input_grad=start.input_grad,
                intercept=referee,
            )  # fmt: skip
    except Exception:
        if not failing:
            raise
    return values
