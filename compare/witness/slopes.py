"""The derivative of a forward pass in balls: along each element, or along random directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flint import arb

from compare.witness.ball_array import balls
from compare.witness.balls import Ball, as_ball
from compare.witness.pairs import Forward, contract, copied

Arrays = dict[str, Any]


def lifted(inputs: Mapping[str, Any], names: list[str]) -> Arrays:
    """Return the inputs with the named arrays as exact balls, the others as they are."""
    return {name: balls(x) if name in names else x for name, x in inputs.items()}


def gradient(forward: Forward, inputs: Arrays, name: str, dout: Any, sign: int = 1) -> np.ndarray:
    """Return ∂(Σ dout · forward) / ∂input, one forward pass per element.

    With sign -1 every element moves down instead of up; the derivative is the same, unless the run
    is one-sided (see `decisions`): then it is the left one.
    """
    found = np.empty(inputs[name].shape, dtype=object)
    for index in np.ndindex(found.shape):
        moving = inputs[name].copy()
        moving[index] = Ball(moving[index].value, arb(sign))
        found[index] = sign * total(forward, inputs | {name: moving}, dout)[1]
    return found


def along(forward: Forward, inputs: Arrays, directions: Arrays, dout: Any) -> Ball:
    """Return the derivative of Σ dout · forward along one direction through all inputs."""
    moving = dict(inputs)
    for name, direction in directions.items():
        moving[name] = inputs[name].copy()
        for index in np.ndindex(direction.shape):
            moving[name][index] = Ball(inputs[name][index].value, direction[index].value)
    return total(forward, moving, dout)[1]


def total(forward: Callable, inputs: Arrays, dout: Any) -> tuple[Ball, Ball]:
    """Return Σ dout · forward(inputs), and its slope."""
    out, _ = forward(*map(copied, inputs.values()))
    ball = as_ball(np.asarray(contract(dout, out), dtype=object)[()])
    return Ball(ball.value), Ball(arb(0) if ball.slope is None else ball.slope)
